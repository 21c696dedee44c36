import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, tensor, type Tensors } from './make';
import { readAll, unpackCompressed } from './unpack';

test('trust 16: thousands of small tensors are copied in a few pieces, and each is as it was', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  const tensors: Tensors = {};
  for (let i = 0; i < 3000; i++) {
    // Of two widths, so that the order of the output is not that of the input.
    tensors[`layers.${i}.norm.weight`] = tensor(i % 3 === 0 ? 'BF16' : 'F32', [16], i);
    if (i % 1000 === 7) tensors[`layers.${i}.proj.weight`] = tensor('F32', [8, 16], i);
  }
  writeFileSync(input, fileOf(tensors));
  let pieces = 0;
  const report = await quantizeCheckpoint(input, output, { bits: 8, onProgress: () => pieces++ });
  t.true(pieces < 40, String(pieces));
  t.is(report.layers.length, 3);
  t.is(report.skipped.length, 3000);
  const after = await readAll(output);
  for (const [name, { data, dtype }] of Object.entries(tensors))
    if (name.includes('norm')) {
      t.is(after.tensors.get(name)!.dtype, dtype);
      t.deepEqual(Buffer.from(after.tensors.get(name)!.bytes), Buffer.from(data));
    }
  t.deepEqual(unpackCompressed(after, 'layers.1007.proj', 8).shape, [8, 16]);
});

test('trust 16: the parts of thousands of small weights, which are known beforehand, are written together', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  const names = Array.from({ length: 800 }, (_, i) => `layers.${i}.proj`);
  writeFileSync(
    input,
    fileOf(
      Object.fromEntries(names.map((name, i) => [`${name}.weight`, tensor('F32', [4 + (i % 3), 8], i)])),
    ),
  );
  let pieces = 0;
  const report = await quantizeCheckpoint(input, output, { bits: 8, onProgress: () => pieces++ });
  t.is(report.layers.length, 800);
  // One for each weight's codes and scales; none for each one's shape.
  t.true(pieces < 820, String(pieces));
  const after = await readAll(output);
  for (const [i, name] of names.entries())
    t.deepEqual(unpackCompressed(after, name, 8).shape, [4 + (i % 3), 8]);
});
