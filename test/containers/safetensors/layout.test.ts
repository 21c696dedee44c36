import test from 'ava';
import fc from 'fast-check';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SafetensorsFile } from '../../../lib/containers/safetensors/file';
import { type TensorSpec, writeSafetensors } from './write';
import { temporaryFolder } from '../../files/temporary-folder';

const sizes = { F64: 8, I64: 8, F32: 4, BF16: 2, F16: 2, U8: 1, BOOL: 1, F4: 0.5 } as const;

test('what is written is read, aligned and in place', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.safetensors');
  const tensor = fc.record({
    dtype: fc.constantFrom(...(Object.keys(sizes) as (keyof typeof sizes)[])),
    dims: fc.array(fc.nat(4), { maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.string(), tensor, { maxKeys: 6 }),
      fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
      async (tensors, metadata) => {
        const specs: TensorSpec[] = Object.entries(tensors).map(([name, { dtype, dims }]) => ({
          name,
          dtype,
          shape: dtype === 'F4' ? [...dims, 2] : dims,
        }));
        const data = new Map(
          specs.map(({ name, dtype, shape }, i) => {
            const count = shape.reduce((product, dim) => product * dim, 1);
            return [name, new Uint8Array(count * sizes[dtype as keyof typeof sizes]).fill(i + 1)];
          }),
        );
        await writeSafetensors(path, specs, (name) => data.get(name)!, new Map(Object.entries(metadata)));
        await SafetensorsFile.with(path, async (file) => {
          t.deepEqual([...file.tensors.keys()].sort(), [...data.keys()].sort());
          t.deepEqual([...file.metadata], Object.entries(metadata));
          for (const { name, dtype, shape } of specs) {
            const found = file.tensor(name);
            t.deepEqual([found.dtype, found.shape], [dtype, shape]);
            t.is(found.position % Math.max(1, sizes[dtype as keyof typeof sizes]), 0);
            t.deepEqual(await file.read(name), data.get(name));
          }
        });
      },
    ),
    { numRuns: 60 },
  );
  t.deepEqual(readdirSync(folder), ['a.safetensors']);
});

test('nothing is left of a file that cannot be completed', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.safetensors');
  const spec: TensorSpec = { name: 'a', dtype: 'U8', shape: [3] };
  await t.throwsAsync(
    writeSafetensors(path, [spec], () => new Uint8Array(2)),
    {
      instanceOf: RangeError,
      message: /"a" takes 3 bytes, not 2/,
    },
  );
  await t.throwsAsync(
    writeSafetensors(path, [spec], () => Promise.reject(new Error('no data'))),
    {
      message: 'no data',
    },
  );
  await t.throwsAsync(
    writeSafetensors(path, [spec, spec], () => new Uint8Array(3)),
    { instanceOf: RangeError },
  );
  const signal = AbortSignal.abort('stop');
  await t.throwsAsync(
    writeSafetensors(path, [spec], () => new Uint8Array(3), undefined, signal),
    { any: true },
  );
  await t.throwsAsync(
    writeSafetensors(join(folder, 'no', 'a'), [spec], () => new Uint8Array(3)),
    {
      code: 'ERR_VERTEXQ_FILE',
    },
  );
  t.deepEqual(readdirSync(folder), []);
  await writeSafetensors(
    path,
    [{ name: 'odd', dtype: 'Q3_K', shape: [5], byteLength: 2 }],
    () => new Uint8Array(2),
  );
  t.is(
    readFileSync(path).length,
    8 + Math.ceil('{"odd":{"dtype":"Q3_K","shape":[5],"data_offsets":[0,2]}}'.length / 8) * 8 + 2,
  );
  await t.throwsAsync(
    writeSafetensors(path, [{ name: 'odd', dtype: 'Q3_K', shape: [5] }], () => new Uint8Array(2)),
    {
      code: 'ERR_VERTEXQ_FORMAT',
    },
  );
});
