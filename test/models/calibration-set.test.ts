import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatNpy } from '../containers/npy/format-npy';
import { formatNpz } from '../containers/npy/make-npz';
import { type ModelInput, prepareCalibrationSet } from '../../lib/models/calibration-set';
import type { Feeds } from '../../lib/models/types';
import type { TensorLike } from '../../lib/types';
import { temporaryFolder } from '../files/temporary-folder';
import { refuses, rows, single, two } from './calibration-data';

/** Which samples feeds of `rows` hold, in order; checks that they are whole. */
function samplesIn(t: ExecutionContext, feeds: Feeds[]): number[][] {
  return feeds.map(({ x }) => {
    const data = x!.data as Float32Array;
    t.deepEqual(x!.dims, [data.length / 3, 3]);
    t.is(x!.type, 'float32');
    const samples = [...data].filter((_, i) => i % 3 === 0);
    t.deepEqual(
      [...data],
      samples.flatMap((sample) => [sample, sample, sample]),
    );
    return samples;
  });
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

test('one feed is cut into batches, every tenth sample held out', async (t) => {
  const x = rows(100);
  const { fit, holdout, samples, warnings } = await prepareCalibrationSet({ x }, { inputs: single });
  t.deepEqual(samplesIn(t, holdout), [[4, 14, 24, 34, 44, 54, 64, 74, 84, 94]]);
  const fitted = samplesIn(t, fit);
  t.deepEqual(
    fitted.map((batch) => batch.length),
    [32, 32, 26],
  );
  t.deepEqual(
    fitted.flat(),
    range(100).filter((i) => i % 10 !== 4),
  );
  t.deepEqual(samples, { fit: 90, holdout: 10 });
  t.deepEqual(warnings, []);
});

test('with nothing held out, batches are views', async (t) => {
  const x = rows(70);
  const { fit, holdout } = await prepareCalibrationSet({ x }, { inputs: single, holdout: 0, batchSize: 30 });
  t.deepEqual(holdout, []);
  t.deepEqual(
    samplesIn(t, fit).map((batch) => batch.length),
    [30, 30, 10],
  );
  for (const feeds of fit) t.is((feeds['x']!.data as Float32Array).buffer, x.data.buffer);
  const one = await prepareCalibrationSet({ x }, { inputs: single, holdout: 0, batchSize: 100 });
  t.is(one.fit[0]!['x']!.data, x.data);
});

test('whatever the numbers, samples are divided and none is lost', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 14 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 1, max: 50 }),
      fc.boolean(),
      async (sizes, holdout, batchSize, iterable) => {
        const total = sizes.reduce((sum, size) => sum + size, 0);
        let begin = 0;
        const feeds = sizes.map((size) => ({ x: rows(size, (begin += size) - size) }));
        const data = iterable ? feeds : { x: rows(total) };
        const prepared = await prepareCalibrationSet(data, { inputs: single, holdout, batchSize });
        const [fit, held] = [samplesIn(t, prepared.fit), samplesIn(t, prepared.holdout)];
        t.deepEqual(
          [...fit.flat(), ...held.flat()].sort((a, b) => a - b),
          range(total),
        );
        t.deepEqual(prepared.samples, { fit: fit.flat().length, holdout: held.flat().length });
        t.true(fit.flat().length > 0);
        t.is(held.flat().length > 0, holdout > 0 && total > 1);
        if (!iterable || sizes.length < 10) {
          const wanted = holdout === 0 ? 0 : Math.min(Math.max(1, Math.round(holdout * total)), total - 1);
          t.is(held.flat().length, wanted);
        }
        if (!iterable) t.true([...fit, ...held].every((batch) => batch.length <= batchSize));
      },
    ),
  );
});

test('feeds of an iterable are run as given; from ten on, whole ones are held out', async (t) => {
  function* generate() {
    for (let i = 0; i < 20; i++) yield { x: rows(4, 4 * i) };
  }
  const { fit, holdout, samples } = await prepareCalibrationSet(generate(), { inputs: single });
  t.is(fit.length, 18);
  t.deepEqual(samplesIn(t, holdout), [
    [16, 17, 18, 19],
    [56, 57, 58, 59],
  ]);
  t.deepEqual(samples, { fit: 72, holdout: 8 });
});

test('fewer feeds are taken apart, if they can be', async (t) => {
  const feeds = [{ x: rows(10) }, { x: rows(10, 10) }];
  const { fit, holdout, warnings } = await prepareCalibrationSet(feeds, { inputs: single });
  t.deepEqual(samplesIn(t, holdout), [[4], [14]]);
  t.deepEqual(
    samplesIn(t, fit).map((batch) => batch.length),
    [9, 9],
  );
  t.deepEqual(warnings, []);

  const fixed: ModelInput[] = [{ name: 'x', type: 'float32', dims: [10, 3] }];
  const whole = await prepareCalibrationSet(feeds, { inputs: fixed });
  t.deepEqual([whole.fit.length, whole.holdout.length], [2, 0]);
  t.regex(whole.warnings[0]!, /nothing of 2 batches is held out, because the network takes 10 at once/);
  await refuses(
    t,
    [{ x: rows(9) }],
    fixed,
    /calibration\[0\]: has 9 samples, and the network takes 10 at once/,
  );
});

test('a network with a fixed batch gets full ones', async (t) => {
  const fixed: ModelInput[] = [{ name: 'x', type: 'float32', dims: [8, 3] }];
  const { fit, holdout, samples, warnings } = await prepareCalibrationSet(
    { x: rows(165) },
    { inputs: fixed },
  );
  t.true([...fit, ...holdout].every((feeds) => feeds['x']!.dims[0] === 8));
  t.deepEqual(samples, { fit: 144, holdout: 16 });
  t.deepEqual(samplesIn(t, holdout), [range(8).map((i) => 32 + i), range(8).map((i) => 112 + i)]);
  t.deepEqual(warnings, [
    'calibration: 5 of 165 samples left out, because the network takes 8 at once [WARN_VERTEXQ_DATA_LEFT_OUT]',
  ]);

  const two = await prepareCalibrationSet({ x: rows(17) }, { inputs: fixed, batchSize: 32 });
  t.deepEqual(two.samples, { fit: 8, holdout: 8 });
  t.is(two.warnings.length, 3);
  t.regex(two.warnings[0]!, /"batchSize" \(32\) has no effect: the network takes batches of 8/);
  t.regex(two.warnings[2]!, /as many as 8 of 16 samples are held out/);
  const one = await prepareCalibrationSet({ x: rows(8) }, { inputs: fixed });
  t.deepEqual(one.samples, { fit: 8, holdout: 0 });
  t.regex(one.warnings[0]!, /nothing of 1 batch is held out/);
  await refuses(t, { x: rows(7) }, fixed, /calibration: has 7 samples, and the network takes 8 at once/);

  const oneByOne: ModelInput[] = [{ name: 'x', type: 'float32', dims: [1, 3] }];
  const singles = await prepareCalibrationSet({ x: rows(20) }, { inputs: oneByOne });
  t.deepEqual(samplesIn(t, singles.holdout), [[4], [14]]);
  t.is(singles.fit.length, 18);
});

test('a single sample is not held out', async (t) => {
  const { samples, warnings } = await prepareCalibrationSet({ x: rows(1) }, { inputs: single });
  t.deepEqual(samples, { fit: 1, holdout: 0 });
  t.deepEqual(warnings, [
    'calibration: nothing is held out, because there is only 1 sample [WARN_VERTEXQ_NO_HOLDOUT]',
  ]);
});

test('held-out data of its own', async (t) => {
  const { fit, holdout, samples } = await prepareCalibrationSet(
    { x: rows(40) },
    { inputs: single, holdout: [{ x: rows(2, 100) }, { x: rows(3, 200) }] },
  );
  t.deepEqual(samplesIn(t, fit).flat(), range(40));
  t.deepEqual(samplesIn(t, holdout), [
    [100, 101],
    [200, 201, 202],
  ]);
  t.deepEqual(samples, { fit: 40, holdout: 5 });
  await refuses(t, { x: rows(40) }, single, /holdout: the network has no input "y"/, {
    holdout: { y: rows(2) },
  });
  await refuses(t, { x: rows(40) }, single, /^Expected "holdout" to be .*: it is empty/, { holdout: [] });
});

test('files, one and several', async (t) => {
  const folder = temporaryFolder(t);
  const write = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const [first, second] = [write('a.npy', formatNpy(rows(5))), write('B.NPY', formatNpy(rows(6, 5)))];
  const options = { inputs: single, batchSize: 4, holdout: 0 };
  t.deepEqual(samplesIn(t, (await prepareCalibrationSet(first, options)).fit), [[0, 1, 2, 3], [4]]);
  // A batch may hold samples of both.
  t.deepEqual(samplesIn(t, (await prepareCalibrationSet([first, second], options)).fit), [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9, 10],
  ]);

  const tensors = (samples: number, tokens: number) => {
    const numbers = range(samples * tokens);
    return new Map([
      ['ids', { data: Int32Array.from(numbers), dims: [samples, tokens] }],
      ['mask', { data: Float64Array.from(numbers), dims: [samples, tokens] }],
    ]);
  };
  const long = write('long.npz', formatNpz(tensors(3, 5)));
  const short = write('short.npz', formatNpz(tensors(4, 2)));
  // Samples of different shapes are not fed at once.
  const { fit, samples } = await prepareCalibrationSet([long, short, long], { inputs: two, holdout: 0 });
  t.deepEqual(fit.map(({ ids }) => ids!.dims), [[6, 5], [4, 2]]); // prettier-ignore
  t.deepEqual(samples, { fit: 10, holdout: 0 });
  t.deepEqual(fit[1]!['ids'], { data: BigInt64Array.from(range(8), BigInt), dims: [4, 2], type: 'int64' });
  t.deepEqual(fit[1]!['mask'], { data: Float32Array.from(range(8)), dims: [4, 2], type: 'float32' });

  await refuses(
    t,
    first,
    two,
    /a\.npy: a \.npy file holds one array, and the network has the inputs "ids", "mask"/,
  );
  await refuses(
    t,
    long,
    single,
    /long\.npz: the network has no input "ids": did you mean "x"|its inputs are "x"/,
  );
  await refuses(t, [first, join(folder, 'absent.npy')], single, /absent\.npy cannot be read/);
  await refuses(t, 'samples.csv', single, /"samples\.csv" is no calibration data: expected an \.npz/);
  await refuses(t, '', single, /"" is no calibration data/);
});

test('tensors of rank 0 go with every batch', async (t) => {
  const inputs: ModelInput[] = [...single, { name: 'scale', type: 'float32', dims: [] }];
  const scale = { data: Float32Array.of(2), dims: [] };
  const { fit } = await prepareCalibrationSet({ x: rows(40), scale }, { inputs, holdout: 0 });
  t.deepEqual(
    fit.map((feeds) => feeds['scale']),
    [
      { ...scale, type: 'float32' },
      { ...scale, type: 'float32' },
    ],
  );
  const alone = await prepareCalibrationSet({ scale }, { inputs: inputs.slice(1) });
  t.deepEqual(alone.samples, { fit: 1, holdout: 0 });
  t.is(alone.fit.length, 1);
});

test('types: what is converted, and what is not', async (t) => {
  const of = async (type: string, tensor: TensorLike) => {
    const { fit } = await prepareCalibrationSet({ x: tensor }, { inputs: [{ name: 'x', type, dims: null }] });
    return fit[0]!['x'];
  };
  const dims = [1, 2];
  const as = (data: unknown, type: string) => ({ data, dims, type });
  t.deepEqual(
    await of('float32', { data: Float64Array.of(1.5, -Infinity), dims }),
    as(Float32Array.of(1.5, -Infinity), 'float32'),
  );
  t.deepEqual(
    await of('int64', { data: Int32Array.of(1, -2), dims }),
    as(BigInt64Array.of(1n, -2n), 'int64'),
  );
  t.deepEqual(
    await of('float16', { data: Float32Array.of(1, -2), dims }),
    as(Uint16Array.of(0x3c00, 0xc000), 'float16'),
  );
  t.deepEqual(await of('float16', { data: Uint16Array.of(1, 2), dims }), as(Uint16Array.of(1, 2), 'float16'));
  t.deepEqual(await of('bool', { data: [true, false], dims }), as(Uint8Array.of(1, 0), 'bool'));
  t.deepEqual(
    await of('bool', { data: Uint8Array.of(1, 0), dims, type: 'bool' }),
    as(Uint8Array.of(1, 0), 'bool'),
  );
  t.deepEqual(await of('uint8', { data: Buffer.of(1, 7), dims }), as(Uint8Array.of(1, 7), 'uint8'));
  t.deepEqual(
    await of('uint8', { data: Uint8ClampedArray.of(1, 7), dims }),
    as(Uint8Array.of(1, 7), 'uint8'),
  );
  t.deepEqual(await of('string', { data: ['a', 'b'], dims }), as(['a', 'b'], 'string'));

  const wrong = (type: string, tensor: object, message: RegExp) =>
    refuses(t, { x: tensor }, [{ name: 'x', type, dims: null }], message);
  await wrong(
    'float32',
    { data: Int32Array.of(1, 2), dims },
    /"x" should be float32, not int32: .*\.astype\("float32"\)/,
  );
  await wrong('int32', { data: BigInt64Array.of(1n, 2n), dims }, /should be int32, not int64/);
  await wrong(
    'float32',
    { data: Float64Array.of(1, 1e300), dims },
    /1e\+300 at 1, which does not fit float32/,
  );
  await wrong('float16', { data: Float32Array.of(70000, 1), dims }, /70000 at 0, which does not fit float16/);
  await wrong(
    'float32',
    { data: Float32Array.of(1, 2), dims, type: 'int64' },
    /type "int64", and its data is a Float32Array/,
  );
  await wrong('bool', { data: Uint8Array.of(1, 2), dims, type: 'uint8' }, /should be bool, not uint8/);
});

test('strings are divided too', async (t) => {
  const inputs: ModelInput[] = [{ name: 'text', type: 'string', dims: [null] }];
  const data = range(20).map(String);
  const { fit, holdout } = await prepareCalibrationSet(
    { text: { data, dims: [20] } },
    { inputs, batchSize: 10 },
  );
  t.deepEqual(holdout[0]!['text'], { data: ['4', '14'], dims: [2], type: 'string' });
  t.deepEqual(fit[0]!['text']!.data, ['0', '1', '2', '3', '5', '6', '7', '8', '9', '10']);
});

test('inputs with names like those of object members', async (t) => {
  const inputs: ModelInput[] = ['__proto__', 'constructor', ''].map((name) => ({
    name,
    type: 'float32',
    dims: null,
  }));
  await refuses(t, {}, inputs, /no data for the inputs "__proto__", "constructor", ""/);
  const data = Object.fromEntries(inputs.map(({ name }) => [name, rows(20)]));
  const { fit } = await prepareCalibrationSet(data, { inputs });
  t.deepEqual(Object.keys(fit[0]!), ['__proto__', 'constructor', '']);
});
