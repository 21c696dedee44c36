import { VertexqError } from '../../../lib/errors';
import { byteLengthOf } from '../../../lib/containers/safetensors/dtypes';
import { headerLength, parseHeader, prefixBytes } from '../../../lib/containers/safetensors/header';
import { entry, rawSafetensors } from './build';

/** Pseudo-random whole numbers below a bound. */
export function randoms(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

const seeds = [
  rawSafetensors({ a: entry('F32', [2, 3], 0, 24), b: entry('BF16', [4], 24, 32) }, 32),
  rawSafetensors(
    { __metadata__: { format: 'pt' }, 'a.weight': entry('I64', [], 0, 8), none: entry('U8', [0], 8, 8) },
    8,
  ),
  rawSafetensors('{}   '),
  rawSafetensors({ 'ä\u0000"\\': entry('F4', [2, 4], 0, 4) }, 4),
];
/** What breaks parsers, to be put anywhere. */
const pieces = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  '\\u0000',
  ',',
  ':',
  '-1',
  '1e308',
  '9007199254740993',
  '0.5',
  'null',
  '\0',
  '\ufeff',
  '\xff',
  '__metadata__',
  '"a"',
].map((text) => Buffer.from(text, 'latin1'));

function mutated(random: (bound: number) => number): Buffer {
  let bytes = Buffer.from(seeds[random(seeds.length)]!);
  for (let changes = 1 + random(4); changes > 0; changes--) {
    // Most changes belong in the header: data is never looked at.
    const at = random(Math.min(bytes.length + 1, random(4) === 0 ? bytes.length + 1 : 160));
    const piece = pieces[random(pieces.length)]!;
    const kind = random(6);
    if (kind === 0 && at < bytes.length) bytes[at] = random(256);
    else if (kind === 1 && at < bytes.length) bytes[at]! ^= 1 << random(8);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
    else if (kind === 4) bytes = bytes.subarray(0, at);
    else bytes = Buffer.concat([bytes, bytes.subarray(at, at + random(40))]);
  }
  // Else nearly all would end at the length.
  if (bytes.length >= prefixBytes && random(3) > 0) {
    const end = bytes.indexOf('}', Math.max(0, bytes.lastIndexOf('}') - random(30)));
    if (end >= prefixBytes) bytes.writeBigUInt64LE(BigInt(end + 1 - prefixBytes));
  }
  return bytes;
}

/** Reads `count` broken files. Rejects where one ends in anything but an answer that holds or ERR_VERTEXQ_SAFETENSORS; resolves to how many held. */
export async function fuzzSafetensors(count: number, seed: number): Promise<number> {
  const random = randoms(seed);
  let accepted = 0;
  for (let i = 0; i < count; i++) {
    const bytes = mutated(random);
    try {
      if (bytes.length < prefixBytes) continue;
      const length = headerLength(bytes.subarray(0, prefixBytes), bytes.length, 'f');
      const header = await parseHeader(bytes.subarray(prefixBytes, prefixBytes + length), bytes.length, 'f');
      let end = header.dataStart;
      for (const [name, tensor] of header.tensors) {
        const expected = byteLengthOf(tensor.dtype, tensor.shape) ?? tensor.byteLength;
        if (tensor.position !== end || tensor.byteLength !== expected)
          throw new Error(`tensor ${JSON.stringify(name)} does not follow`);
        end += tensor.byteLength;
      }
      if (end !== bytes.length) throw new Error('bytes are left over');
      accepted++;
    } catch (error) {
      if (error instanceof VertexqError && error.code === 'ERR_VERTEXQ_SAFETENSORS') continue;
      throw new Error(`run ${i} of seed ${seed}: ${bytes.toString('base64')}`, { cause: error });
    }
  }
  return accepted;
}
