import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { VertexqError } from '../../../lib/errors';
import { dequantized } from './dequantize';
import { temporaryFile } from '../../files/temporary-folder';
import { begin, gguf, keyBytes, type Tensor, text, u32, u64, type Value } from './make';

const golden = JSON.parse(readFileSync(join(__dirname, 'golden.json'), 'utf8')) as Record<
  string,
  { bytes: string; floats: string }
>;

for (const [type, { bytes, floats }] of Object.entries(golden))
  test(`${type} is read as the gguf package reads it (bench/formats/gguf_golden.py)`, (t) => {
    const values = dequantized(type, Buffer.from(bytes, 'hex'));
    t.deepEqual(Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex'), floats);
  });

const keys: Record<string, Value> = {
  'general.architecture': { type: 'text', value: 'llama' },
  'general.alignment': { type: 'u32', value: 64 },
  epsilon: { type: 'f32', value: 0.25 },
  flag: { type: 'bool', value: true },
  large: { type: 'u64', value: 2 ** 40 },
  byte: { type: 'u8', value: 255 },
  tokens: { type: 'texts', value: ['a', 'ä€😀', '', '\u0120the'] },
  types: { type: 'i32s', value: [1, -3, 2 ** 30] },
  none: { type: 'texts', value: [] },
};
const floats = (shape: number[], offset?: bigint): Tensor => {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);
  return { type: 0, shape, data, ...(offset === undefined ? {} : { offset }) };
};

test('keys, tensors and their rows', async (t) => {
  const blocks: Tensor = { type: 3, shape: [2, 64], data: Buffer.alloc(80, 7) };
  const path = temporaryFile(t, 'a.gguf', gguf(keys, [['b.weight', blocks], ['__proto__', floats([3, 2])], ['one', floats([])]], 64)); // prettier-ignore
  await GgufFile.with(path, async (file) => {
    const { metadata, version, alignment } = file.header;
    t.deepEqual([version, alignment], [3, 64]);
    t.deepEqual(metadata.get('large'), 2n ** 40n);
    t.deepEqual([...(metadata.get('types') as Int32Array)], [1, -3, 2 ** 30]);
    for (const key of ['general.architecture', 'epsilon', 'flag', 'byte', 'tokens', 'none'])
      t.deepEqual(metadata.get(key), keys[key]!.value);
    t.deepEqual([...file.tensors.keys()], ['b.weight', '__proto__', 'one']);
    const { dtype, shape, byteLength } = file.tensor('b.weight');
    t.deepEqual([dtype, shape, byteLength], ['Q4_1', [2, 64], 80]);
    t.is((await file.read('b.weight', 1)).length, 40);
    t.deepEqual([...dequantized('F32', await file.read('__proto__', 1, 3))], [2, 3, 4, 5]);
    t.deepEqual([...dequantized('F32', await file.read('one'))], [0]);
  });
});

/** That a file is refused, whatever its header says, with its path first. */
async function refused(t: ExecutionContext, bytes: Uint8Array, message: RegExp): Promise<void> {
  const path = temporaryFile(t, 'some.gguf', bytes);
  const error = await t.throwsAsync(GgufFile.open(path), { instanceOf: VertexqError, message });
  t.is(error?.code, 'ERR_VERTEXQ_GGUF');
  t.true(error?.message.startsWith(`${path} is no valid GGUF file: `));
}

test('a file that is cut off anywhere', async (t) => {
  const whole = gguf(keys, [['b.weight', floats([4, 4])]], 64);
  for (let length = 0; length < whole.length; length += 1 + (length % 5))
    await refused(t, whole.subarray(0, length), /it ends at byte|the file has only/);
});

test('what is no GGUF file of a known version', async (t) => {
  await refused(t, Buffer.from('PK\x03\x04 and more'), /does not begin with "GGUF"/);
  await refused(t, Buffer.from('FUGG and more'), /other byte order/);
  await refused(t, begin(0, 0, 0x03000000), /other byte order/);
  await refused(t, begin(0, 0, 1), /version is 1, and known are 2 and 3/);
});

test('counts and lengths beyond the file', async (t) => {
  for (const count of [100n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]) {
    await refused(t, begin(count, 0), new RegExp(`the number of tensors is ${count}, and the file has only`));
    await refused(t, begin(0, count), new RegExp(`the number of keys is ${count}, and`));
    const key = Buffer.concat([begin(0, 1), u64(count), Buffer.alloc(20)]);
    await refused(t, key, new RegExp(`the length of the name of key 1 of 1 is ${count}, and`));
    for (const type of [0, 8, 12]) {
      const array = Buffer.concat([begin(0, 1), text('k'), u32(9), u32(type), u64(count), Buffer.alloc(16)]);
      await refused(
        t,
        array,
        new RegExp(`entries of the value of "k" is ${count}, and the file has only 16`),
      );
    }
  }
});

test('keys', async (t) => {
  const one = (...rest: Buffer[]) => Buffer.concat([begin(0, 1), text('k'), ...rest, Buffer.alloc(64)]);
  await refused(t, one(u32(13)), /value of "k" is of type 13, which is none/);
  await refused(t, one(u32(9), u32(9), u64(1)), /an array of arrays/);
  await refused(t, one(u32(9), u32(77), u64(0)), /is of type 77, which is none/);
  await refused(t, one(u32(8), text(Buffer.of(0xff, 0xfe))), /the value of "k" is not UTF-8/);
  const twice = keyBytes('k', { type: 'u8', value: 1 });
  await refused(t, Buffer.concat([begin(0, 2), twice, twice]), /has the key "k" twice/);
  for (const value of [0, 3, 48, 2 ** 21, 2 ** 32 - 1])
    await refused(
      t,
      gguf({ 'general.alignment': { type: 'u32', value } }),
      /should be a power of two from 1 to/,
    );
  await refused(t, gguf({ 'general.alignment': { type: 'text', value: '32' } }), /should be a power of two/);
});

test('tensors', async (t) => {
  const of = (...tensors: [string, Tensor][]) => gguf({}, tensors);
  await refused(t, of(['a', floats([2])], ['a', floats([2])]), /has tensor "a" twice/);
  await refused(
    t,
    of(['a', floats([2], 0n)], ['b', floats([2], 0n)]),
    /tensor "b" begins before tensor "a" has ended/,
  );
  await refused(t, of(['a', floats([8], 8n)]), /lies at byte 8, which is no multiple of 32/);
  for (const offset of [64n, 2n ** 40n, 2n ** 64n - 32n])
    await refused(t, of(['a', floats([8], offset)]), /tensor "a" ends at byte \d+, and the file has only/);
  const shaped = (type: number, shape: number[]) => of(['a', { type, shape, data: Buffer.alloc(64) }]);
  await refused(t, shaped(0, [1, 1, 1, 1, 1]), /has 5 dimensions, and at most 4/);
  await refused(t, shaped(0, [2 ** 40, 2 ** 40]), /more entries than can be counted|ends at byte/);
  await refused(t, shaped(3, [2, 33]), /rows of 33 entries, and Q4_1 takes multiples of 32/);
  await refused(t, shaped(0, [17]), /ends at byte \d+, and the file has only/);
  const huge = Buffer.concat([begin(1, 0), text('a'), u32(1), u64(2n ** 63n), u32(0), u64(0)]);
  await refused(t, huge, /a dimension of 9223372036854775808 entries/);
});
