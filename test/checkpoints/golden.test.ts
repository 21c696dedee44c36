import test from 'ava';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../files/temporary-folder';
import { goldenCases, writeGolden } from './golden-cases';
import { readAll, unpackCompressed, unpackGptq } from './unpack';

type Golden = Record<string, Record<string, { shape: number[]; sha256: string }>>;

test('Python packages read the values that we mean', async (t) => {
  const folder = temporaryFolder(t);
  await writeGolden(folder);
  const golden = JSON.parse(readFileSync(join(__dirname, 'golden.json'), 'utf8')) as Golden;
  t.deepEqual(Object.keys(golden), Object.keys(goldenCases));
  for (const [name, weights] of Object.entries(golden)) {
    t.is(Object.keys(weights).length, 3);
    const read = await readAll(join(folder, name));
    for (const [module, { shape, sha256 }] of Object.entries(weights)) {
      const bits = name.endsWith('mixed') ? (module === 'k_proj' ? 8 : 4) : (goldenCases[name]!.bits ?? 4);
      const found = name.startsWith('compressed')
        ? unpackCompressed(read, module, bits)
        : unpackGptq(read, module, bits, name.startsWith('gptq_v2') ? 2 : 1);
      t.deepEqual(found.shape, shape);
      const bytes = new Uint8Array(found.values.buffer);
      t.is(createHash('sha256').update(bytes).digest('hex'), sha256, `${name} ${module}`);
    }
  }
});
