import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors } from '../../lib/models/data/read-tensors';
import { checkTensor } from '../../lib/models/data/tensor-checks';
import { fileOf } from '../checkpoints/make';
import { holdsUp } from '../event-loop';
import { temporaryFolder } from '../files/temporary-folder';

const isLetGo = (action: () => Promise<unknown>) => holdsUp(action, { most: 50, share: 0.6, tries: 3 });

/** A file in Fortran order. */
function npy(folder: string, descr: string, shape: string, bytes: number): string {
  const path = join(folder, `${descr.slice(1)}.npy`);
  const dict = `{'descr': '${descr}', 'fortran_order': True, 'shape': ${shape}, }`.padEnd(117) + '\n';
  const head = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${dict}`, 'latin1');
  writeFileSync(path, Buffer.concat([head, Buffer.alloc(bytes, 1)]));
  return path;
}

test.serial('trust item 4: arrays in Fortran order leave the event loop free', async (t) => {
  const folder = temporaryFolder(t);
  for (const [descr, shape] of [
    ['<f4', '(2048, 4096)'],
    ['<i8', '(128, 128, 256)'],
    ['<f2', '(4096, 4096)'],
  ] as const) {
    const path = npy(folder, descr, shape, 2 ** 25);
    t.is(await isLetGo(() => readTensors(path, 'x')), null, descr);
  }
});

test.serial('trust item 4: booleans leave the event loop free', async (t) => {
  const path = npy(temporaryFolder(t), '|b1', '(33554432,)', 2 ** 25);
  t.is(await isLetGo(() => readTensors(path, 'x')), null);
});

const input = { name: 'x', type: 'int64', dims: null };

test.serial('trust item 4: int32 to int64 leaves the event loop free', async (t) => {
  const ids = { data: new Int32Array(2 ** 22), dims: [2 ** 22], type: 'int32' };
  t.is(await isLetGo(async () => checkTensor(ids, input, 'data')), null);
});

test.serial('trust item 4: doubles to singles and halves leave the event loop free', async (t) => {
  for (const fill of [0.1, NaN])
    for (const type of ['float32', 'float16']) {
      const doubles = { data: new Float64Array(2 ** 23).fill(fill), dims: [2 ** 23], type: 'float64' };
      t.is(await isLetGo(async () => checkTensor(doubles, { ...input, type }, 'data')), null, type);
    }
});

test.serial('trust item 4: halves of a safetensors file leave the event loop free', async (t) => {
  const path = join(temporaryFolder(t), 'x.safetensors');
  for (const dtype of ['F16', 'BF16'] as const) {
    writeFileSync(path, fileOf({ x: { dtype, shape: [2 ** 24], data: Buffer.alloc(2 ** 25, 1) } }));
    t.is(await isLetGo(() => readTensors(path, '')), null, dtype);
  }
});
