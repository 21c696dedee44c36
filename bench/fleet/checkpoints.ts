import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mulberry32 } from '../../scripts/models/trainer/random';

const side = 1024;
const bytesOfWeight = 2 * side * side;

/** Weights in BF16, near to normal, of which all are taken from. */
const pool = (() => {
  const random = mulberry32(7);
  const values = Float32Array.from(
    { length: side * side },
    () => (random() + random() + random() - 1.5) / 20,
  );
  const words = new Uint32Array(values.buffer);
  return Buffer.from(Uint16Array.from(words, (word) => word >>> 16).buffer);
})();

/** A checkpoint of about so many MB: square matrices in one file, other ones for each number. */
export function writeCheckpoint(folder: string, megabytes: number, number: number): void {
  const count = Math.max(1, Math.round((megabytes * 1e6) / bytesOfWeight));
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const at = i * bytesOfWeight;
    const data_offsets = [at, at + bytesOfWeight];
    header[`model.layers.${i}.mlp.up_proj.weight`] = { dtype: 'BF16', shape: [side, side], data_offsets };
    // Turned, by another amount for each.
    const shift = (2 * side * (131 * number + 17 * i + 1)) % bytesOfWeight;
    parts.push(pool.subarray(shift), pool.subarray(0, shift));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  mkdirSync(folder);
  writeFileSync(join(folder, 'model.safetensors'), Buffer.concat([length, text, ...parts]));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ model_type: 'llama', number }));
}
