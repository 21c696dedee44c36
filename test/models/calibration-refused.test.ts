import test from 'ava';
import type { ModelInput } from '../../lib/models/calibration-set';
import { refuses, rows, single, two } from './calibration-data';

test('inputs that are missing, unknown, or of another shape', async (t) => {
  const ids = { data: new BigInt64Array(6), dims: [2, 3] };
  const mask = { data: new Float32Array(6), dims: [2, 3] };
  await refuses(t, { ids }, two, /calibration: no data for the input "mask"/);
  await refuses(t, {}, two, /no data for the inputs "ids", "mask"/);
  await refuses(
    t,
    { ids, masks: mask },
    two,
    /no input "masks": did you mean "mask"\? Its inputs are "ids", "mask"/,
  );
  await refuses(
    t,
    { ids, mask, position_ids: ids },
    two,
    /no input "position_ids": its inputs are "ids", "mask"/,
  );
  await refuses(t, [{ ids, mask }, { ids }], two, /calibration\[1\]: no data for the input "mask"/);
  await refuses(
    t,
    { x: { data: new Float32Array(8), dims: [2, 4] } },
    single,
    /the dims \[batch, 3\], not \[2, 4\]: dimension 1 is fixed/,
  );
  await refuses(
    t,
    { x: { data: new Float32Array(8), dims: [8] } },
    single,
    /should have 2 dimensions, \[batch, 3\], not 1: \[8\]/,
  );
  await refuses(
    t,
    { x: { data: new Float32Array(8), dims: [3, 3] } },
    single,
    /its data should have 9 elements, not 8/,
  );
  const other = { data: new Float32Array(9), dims: [3, 3] };
  await refuses(t, { ids, mask: other }, two, /as many samples .* "ids" has 2, "mask" 3/);
  await refuses(t, { x: rows(0) }, single, /has no samples: the first dimension is 0/);
  const clash: ModelInput[] = [
    ...single,
    { name: 'y', type: 'float32', dims: [2] },
    { name: 'z', type: 'float32', dims: [5] },
  ];
  // Vectors of a fixed length are fed as they are.
  const y = { data: new Float32Array(4), dims: [4] };
  await refuses(t, { x: rows(2), y, z: y }, clash, /"y" should have the dims \[2\], not \[4\]: .*batchAxis/);
  await refuses(t, { x: rows(2) }, [], /The network has no inputs/);
});

test('values that are no calibration data', async (t) => {
  for (const data of [undefined, null, 7, true, () => {}, Symbol.iterator])
    await refuses(t, data, single, /^Expected "calibration" to be paths of files, feeds .*, not /);
  await refuses(t, [], single, /it is empty/);
  await refuses(t, ['a.npy', { x: rows(1) }], single, /not paths together with/);
  await refuses(t, ['a.npy', undefined], single, /not paths together with undefined/);
  await refuses(t, rows(3), single, /not a single tensor/);
  await refuses(t, new Float32Array(3), single, /not a Float32Array/);
  await refuses(t, [rows(3)], single, /not a single tensor/);
  await refuses(
    t,
    new Map([['x', rows(3)]]),
    single,
    /Expected "calibration\[0\]" to be feeds .*, not an array/,
  );
  await refuses(t, (async function* () {})(), single, /asynchronous iterable/);
  await refuses(t, [undefined], single, /not undefined/);
  await refuses(t, (function* () { for (;;) yield { x: rows(1) }; })(), single, /more than 1000000 feeds/); // prettier-ignore
});

test('more samples than could ever be run, which take no room where a dimension is 0', async (t) => {
  const inputs: ModelInput[] = ['x', 'y'].map((name) => ({ name, type: 'float32', dims: null }));
  const of = (samples: number) => ({
    x: { data: new Float32Array(0), dims: [samples, 0] },
    y: { data: new Float32Array(0), dims: [samples, 0, 5] },
  });
  const most = /calibration: has 9007199254740991 samples, more than 100000000/;
  await refuses(t, of(2 ** 53 - 1), inputs, most);
  await refuses(t, [of(2 ** 53 - 1)], inputs, most);
  await refuses(t, of(50_000_000), inputs, /more than 1000000 batches of 32: raise "batchSize"/);
  await refuses(t, of(10), inputs, /holdout: has 9007199254740991 samples/, { holdout: of(2 ** 53 - 1) });
});

test('an input of the network that is no tensor', async (t) => {
  const inputs: ModelInput[] = [{ name: 'list', type: 'unknown', dims: null }];
  await refuses(t, { list: rows(3) }, inputs, /the input "list" of the network is no tensor/);
});

test('tensors that are none', async (t) => {
  const wrong = (x: unknown, message: RegExp) => refuses(t, { x }, single, message);
  await wrong(null, /^calibration: the input "x" should be a tensor, \{ data, dims, type \}, not null/);
  await wrong(
    { data: [1, 2, 3], dims: [1, 3] },
    /such as Float32Array\.from\(data\), not an array of numbers/,
  );
  await wrong({ data: ['1', 2, '3'], dims: [1, 3] }, /has 2 among its strings, at 1/);
  await wrong({ data: new DataView(new ArrayBuffer(12)), dims: [1, 3] }, /typed array, not a DataView/);
  await wrong({ data: new Float32Array(3) }, /"dims" of whole numbers, not undefined/);
  await wrong({ data: new Float32Array(3), dims: [1, '3'] }, /"dims" of whole numbers, not \[1, "3"\]/);
  await wrong({ data: new Float32Array(3), dims: [-1, -3] }, /"dims" of whole numbers, not \[-1, -3\]/);
  await wrong({ data: new Float32Array(3), dims: [1, 3], type: 1 }, /"type" that is a string, not 1/);
  await wrong({ data: new Float32Array(new SharedArrayBuffer(12)), dims: [1, 3] }, /SharedArrayBuffer/);
  const data = new Float32Array(3);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  await wrong({ data, dims: [1, 3] }, /should have 3 elements, not 0/);
  await wrong({ get data() { throw new Error('on a GPU'); }, dims: [1, 3] }, /"x" cannot be read: on a GPU/); // prettier-ignore
});

test('options out of range', async (t) => {
  const x = rows(10);
  for (const holdout of [-0.1, 1, 2, NaN, Infinity])
    await refuses(t, { x }, single, /^Expected the "holdout" option to be a fraction/, { holdout });
  await refuses(t, { x }, single, /"batchSize" option to be a whole number 1 or more, not 0/, {
    batchSize: 0,
  });
  await refuses(t, { x }, single, /"batchSize" option to be a whole number/, { batchSize: 2.5 });
  await refuses(t, { x }, single, /Expected "holdout" to be paths/, { holdout: null });
});
