import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blockBytes, blockTypeNamed } from '../../../lib/containers/gguf/block-types';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { VertexqError } from '../../../lib/errors';
import { randoms } from '../safetensors/fuzz';
import { gguf, u32, u64 } from './make';

const zeros = (type: number, shape: number[], length: number) => ({
  type,
  shape,
  data: Buffer.alloc(length),
});
const seeds = [
  gguf(
    {
      'general.architecture': { type: 'text', value: 'llama' },
      'general.alignment': { type: 'u32', value: 32 },
      tokens: { type: 'texts', value: ['a', 'bc', ''] },
      types: { type: 'i32s', value: [1, 2, 3] },
    },
    [
      ['blk.0.attn_q.weight', zeros(2, [2, 64], 72)],
      ['b', zeros(0, [3], 12)],
    ],
  ),
  gguf({}, [
    ['x', zeros(99, [4], 40)],
    ['y', zeros(12, [1, 256], 144)],
  ]),
  gguf({ flag: { type: 'bool', value: true }, large: { type: 'u64', value: 7 } }),
];
/** What breaks readers of lengths, counts, types and places. */
const pieces = [
  ...[0, 1, 7, 8, 9, 12, 13, 2 ** 31, 2 ** 32 - 1].map(u32),
  ...[0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 32n].map(u64),
  Buffer.from('\xff\xfe', 'latin1'),
];

function mutated(random: (bound: number) => number): Buffer {
  let bytes = Buffer.from(seeds[random(seeds.length)]!);
  for (let changes = 1 + random(3); changes > 0; changes--) {
    const at = random(bytes.length + 1);
    const piece = pieces[random(pieces.length)]!;
    const kind = random(7);
    if (kind === 0 && at < bytes.length) bytes[at] = random(256);
    else if (kind === 1 && at < bytes.length) bytes[at]! ^= 1 << random(8);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
    else if (kind === 4 && random(4) === 0) bytes = bytes.subarray(0, at);
    else if (kind === 5) bytes = Buffer.concat([bytes, bytes.subarray(at, at + random(40))]);
    // Most of what matters lies at multiples of 4.
    else if (at + piece.length <= bytes.length) piece.copy(bytes, at & ~3);
  }
  return bytes;
}

/** Opens `count` broken files. Rejects where one ends in anything but an answer that holds or ERR_VERTEXQ_GGUF; resolves to how many held. */
export async function fuzzGguf(count: number, seed: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-fuzz-'));
  const path = join(folder, 'f.gguf');
  const random = randoms(seed);
  let accepted = 0;
  try {
    for (let i = 0; i < count; i++) {
      const bytes = mutated(random);
      try {
        writeFileSync(path, bytes);
        await GgufFile.with(path, async (file) => {
          let end = file.header.length;
          for (const [name, { dtype, shape, byteLength, position }] of file.tensors) {
            const known = !dtype.startsWith('type ');
            const isWhole = !known || blockBytes(blockTypeNamed(dtype), shape) === byteLength;
            if (position < end || byteLength < 0 || !isWhole)
              throw new Error(`tensor ${JSON.stringify(name)} does not follow`);
            end = position + byteLength;
            await file.read(name);
          }
          if (end > bytes.length) throw new Error('tensors end behind the file');
        });
        accepted++;
      } catch (error) {
        if (error instanceof VertexqError && error.code === 'ERR_VERTEXQ_GGUF') continue;
        // Parts that are not there.
        if (error instanceof VertexqError && error.code === 'ERR_VERTEXQ_FILE') continue;
        throw new Error(`run ${i} of seed ${seed}: ${bytes.toString('base64')}`, { cause: error });
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return accepted;
}
