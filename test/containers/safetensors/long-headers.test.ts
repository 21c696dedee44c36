import test from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SafetensorsFile } from '../../../lib/containers/safetensors/file';
import { readIndex } from '../../../lib/containers/safetensors/index-file';
import { holdUps } from '../../event-loop';
import { temporaryFolder } from '../../files/temporary-folder';

// Headers and indices of very many members: read in turns, between which the event loop goes on.

const count = 100_000;
const names = Array.from({ length: count }, (_, i) => `model.layers.${i}.mlp.down_proj.weight`);

/** The longest that the event loop was held up while `action` ran, as a share of the time that this took. */
async function longestHold(action: () => Promise<unknown>): Promise<number> {
  const { longest, total } = await holdUps(action);
  return longest / total;
}

function fileOf(folder: string, header: string, data: number): string {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  const path = join(folder, 'x.safetensors');
  writeFileSync(path, Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(data)]));
  return path;
}

test.serial('trust, off the main thread: long headers leave the event loop free', async (t) => {
  const folder = temporaryFolder(t);
  const tensors = names.map(
    (name, i) => `"${name}":{"dtype":"U8","shape":[1],"data_offsets":[${i},${i + 1}]}`,
  );
  const metadata = names.map((name) => `"${name}":"x"`);
  for (const [header, data] of [
    [`{${tensors.join()}}`, count],
    [`{${[...tensors].reverse().join()}}`, count],
    [`{"__metadata__":{${metadata.join()}}}`, 0],
  ] as const) {
    const path = fileOf(folder, header, data);
    const share = await longestHold(async () => {
      await SafetensorsFile.with(path, (file) => {
        t.is(file.tensors.size, data);
        t.is(file.metadata.size, data === 0 ? count : 0);
        return Promise.resolve();
      });
    });
    t.true(share < 0.7, `held up for ${share} of the time`);
  }
});

test.serial('trust, off the main thread: long indices leave the event loop free', async (t) => {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  const path = join(folder, 'model.safetensors.index.json');
  const map = names.map((name) => `"${name}":"x.safetensors"`);
  writeFileSync(path, `{"metadata":{"total_size":1},"weight_map":{${map.join()}}}`);
  const share = await longestHold(async () => {
    const { weightMap } = await readIndex(path);
    t.is(weightMap.size, count);
  });
  t.true(share < 0.7, `held up for ${share} of the time`);
});
