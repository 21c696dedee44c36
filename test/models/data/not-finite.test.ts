import test from 'ava';
import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareMethods, evaluateModel, quantizeModel } from '../../../lib/index';
import { prepareCalibrationSet, prepareSamples } from '../../../lib/models/calibration-set';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { temporaryFolder } from '../../files/temporary-folder';
import { formatNpz } from '../../containers/npy/make-npz';
import { files, float, network, random } from '../networks';

const shared = { name: 'all', type: 'float32', dims: [3] };

test('ux 17: a number of the data that is NaN, or else infinite, is found, whichever its type and batch axis', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('float16', 'float32', 'float64'),
      fc.nat(2),
      fc.constantFrom(NaN, Infinity, -Infinity, 1),
      fc.nat(6),
      async (type, axis, value, sample) => {
        const dims = [2, 3, 4];
        dims.splice(axis, 1, 7);
        const count = 7 * dims.reduce((product, dim, i) => product * (i === axis ? 1 : dim), 1);
        const step = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
        const at = sample * step + (step - 1);
        const bits = Number.isNaN(value) ? 0x7e01 : value === 1 ? 0x3c00 : value > 0 ? 0x7c00 : 0xfc00;
        const data =
          type === 'float16'
            ? new Uint16Array(count)
            : type === 'float32'
              ? new Float32Array(count)
              : new Float64Array(count);
        data[at] = type === 'float16' ? bits : value;
        const input = {
          name: 'x',
          type,
          dims: dims.map((dim, i) => (i === axis ? null : dim)),
        };
        const all = { data: new Float32Array(3), dims: [3], type: 'float32' };
        const found = (holdout: number) =>
          prepareCalibrationSet(
            { x: { data, dims, type }, all },
            { inputs: [input, shared], holdout, batchAxis: { x: axis, all: null } },
          );
        const expected = value === 1 ? null : `calibration: the input "x" of sample ${sample} has ${value}`;
        t.is((await found(0)).notFinite, expected);
        // Wherever the sample has come to.
        t.is((await found(0.3)).notFinite, expected);
      },
    ),
    { numRuns: 60 },
  );
});

test('ux 17: NaN comes before what is infinite; of what all samples share, no sample is told', async (t) => {
  const x = { name: 'x', type: 'float32', dims: [null, 1] };
  const found = async (numbers: number[], all: number[]) =>
    (
      await prepareSamples(
        {
          x: { data: Float32Array.from(numbers), dims: [numbers.length, 1], type: 'float32' },
          all: { data: Float32Array.from(all), dims: [3], type: 'float32' },
        },
        'data',
        { inputs: [x, shared], batchAxis: { all: null } },
      )
    ).notFinite;
  t.is(await found([1, Infinity, NaN], [0, 0, 0]), 'data: the input "x" of sample 2 has NaN');
  t.is(await found([1, 2, 3], [0, NaN, 0]), 'data: the input "all" has NaN');
  t.is(await found([1, 2, 3], [0, 0, 0]), null);
});

/** x·W, of 4 to 3. */
const product = () =>
  network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [4, 3], random(12, 1))],
    inputs: [float('x', ['batch', 4])],
    outputs: [float('y', ['batch', 3])],
  });

test('ux 17: the error of a layer and the warning of outputs name the file and the sample', async (t) => {
  const { input, output } = files(t, product());
  const few = join(temporaryFolder(t), 'few.npz');
  const data = random(4 * 40, 3);
  const x = { data, dims: [40, 4], type: 'float32' };
  writeFileSync(few, formatNpz(new Map([['x', x]])));
  await quantizeModel(input, output, { calibration: few });
  data[4 * 30 + 2] = NaN;
  writeFileSync(few, formatNpz(new Map([['x', x]])));
  const place = `${few}: the input "x" of sample 30 has NaN`;
  const expected = { code: 'ERR_VERTEXQ_NOT_FINITE', message: new RegExp(`layer .*\\. ${place}$`) };
  await t.throwsAsync(quantizeModel(input, join(output, '..', 'other.onnx'), { calibration: few }), expected);
  await t.throwsAsync(compareMethods(input, { calibration: few, methods: ['gptq'] }), expected);
  const { warnings } = await evaluateModel(input, output, { data: few });
  t.true(
    warnings.some((warning) => String(warning).includes(place)),
    warnings.join('\n'),
  );
});

test('ux 17: infinite numbers that the network knows what to do with are no error', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['s']),
      node('Add', ['s', 'mask'], ['m']),
      node('Softmax', ['m'], ['p']),
      node('MatMul', ['p', 'v'], ['y']),
    ],
    constants: [tensor('w', [4, 3], random(12, 1)), tensor('v', [3, 2], random(6, 2))],
    inputs: [float('x', ['batch', 4]), float('mask', ['batch', 3])],
    outputs: [float('y', ['batch', 2])],
  });
  const { input, output } = files(t, model);
  const mask = Float32Array.from({ length: 120 }, (_, i) => (i % 3 === 2 ? -Infinity : 0));
  const calibration = {
    x: { data: random(160, 4), dims: [40, 4], type: 'float32' },
    mask: { data: mask, dims: [40, 3], type: 'float32' },
  };
  const { layers, warnings } = await quantizeModel(input, output, { calibration });
  t.is(layers.length, 2);
  t.false(warnings.some((warning) => String(warning).includes('Infinity')));
});
