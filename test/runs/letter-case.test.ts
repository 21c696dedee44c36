import test, { type ExecutionContext } from 'ava';
import { linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib/index';
import { fileOf } from '../checkpoints/make';
import { temporaryFolder } from '../files/temporary-folder';
import { random } from '../models/networks';

// Tried on a file system that does not tell upper from lower case too: what it shows of itself is that one file has both names.

/** A folder that looks like one that does not tell case. */
function folderWithoutCase(t: ExecutionContext): string {
  const folder = join(temporaryFolder(t), 'own');
  mkdirSync(folder);
  writeFileSync(join(folder, 'probe'), '');
  linkSync(join(folder, 'probe'), join(folder, 'PROBE'));
  return folder;
}

function checkpoint(folder: string, files: Record<string, string>, shards: Record<string, string>): string {
  const data = Buffer.from(random(32 * 32, 1).buffer);
  for (const [tensor, shard] of Object.entries(shards))
    writeFileSync(join(folder, shard), fileOf({ [tensor]: { dtype: 'F32', shape: [32, 32], data } }));
  const index = { metadata: {}, weight_map: shards };
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

test('trust 3: files of an output that differ in case alone, where case is not told', async (t) => {
  const outputs = folderWithoutCase(t);
  const tried: [Record<string, string>, Record<string, string>, RegExp][] = [
    [{}, { 'a.weight': 'model-a.safetensors', 'b.weight': 'model-A.safetensors' }, /model-A\.safetensors and .*model-a\.safetensors/], // prettier-ignore
    [{ 'README.md': 'one', 'readme.MD': 'other' }, { 'a.weight': 'model-a.safetensors' }, /README\.md and .*readme\.MD/], // prettier-ignore
    [
      { 'Config.JSON': '{}', 'config.json': '{"model_type":"llama"}' },
      { 'a.weight': 'model-a.safetensors' },
      /onfig/,
    ],
  ];
  for (const [files, shards, message] of tried) {
    const input = checkpoint(temporaryFolder(t), files, shards);
    await t.throwsAsync(quantizeCheckpoint(input, join(outputs, 'quantized')), {
      instanceOf: RangeError,
      message: new RegExp(
        `The output cannot have both .*${message.source}.*does not tell upper from lower case`,
      ),
    });
    t.deepEqual(readdirSync(outputs).sort(), ['PROBE', 'probe']);
    // Elsewhere they are what they are.
    await quantizeCheckpoint(input, join(temporaryFolder(t), 'quantized'));
  }
});
