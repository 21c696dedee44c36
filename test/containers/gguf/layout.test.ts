import test from 'ava';
import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { GgufLayout } from '../../../lib/containers/gguf/layout';
import { type GgufValue, keyBytes } from '../../../lib/containers/gguf/values';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { begin, gguf, type Tensor } from './make';

const values: Record<string, GgufValue> = {
  a: { type: 'u8', value: 255 },
  b: { type: 'i8', value: -128 },
  c: { type: 'u16', value: 65535 },
  d: { type: 'i16', value: -2 },
  e: { type: 'u32', value: 2 ** 32 - 1 },
  f: { type: 'i32', value: -(2 ** 31) },
  g: { type: 'f32', value: 0.25 },
  h: { type: 'bool', value: true },
  i: { type: 'text', value: 'ä€😀\0' },
  j: { type: 'u64', value: 2n ** 64n - 1n },
  k: { type: 'i64', value: -(2n ** 63n) },
  l: { type: 'f64', value: Math.PI },
  m: { type: 'array', of: 'text', values: ['', 'x', 'Ġthe'] },
  n: { type: 'array', of: 'i32', values: [1, -1] },
  o: { type: 'array', of: 'f32', values: Float32Array.of(0.5, -1.5) },
  p: { type: 'array', of: 'bool', values: [true, false] },
  q: { type: 'array', of: 'u64', values: [1n, 2n ** 63n] },
  r: { type: 'array', of: 'text', values: [] },
};

test('values of every type are read back', async (t) => {
  const keys = Object.entries(values).map(([key, value]) => keyBytes(key, value));
  const path = temporaryFile(t, 'a.gguf', Buffer.concat(new GgufLayout().head(keys)));
  await GgufFile.with(path, (file) => {
    for (const [i, [key, given]] of Object.entries(values).entries()) {
      const found = file.header.metadata.get(key);
      if (given.type !== 'array') t.is(found, given.value, key);
      else {
        const wanted = Array.from(given.values as ArrayLike<unknown>);
        const isFlags = given.of === 'bool';
        t.deepEqual(Array.from(found as ArrayLike<unknown>), isFlags ? wanted.map(Number) : wanted, key);
      }
      t.deepEqual(Buffer.from(file.keyBytes(key)), Buffer.from(keys[i]!));
    }
    return Promise.resolve();
  });
});

test('tensors are where the layout puts them', async (t) => {
  const shapes = fc.array(fc.tuple(fc.constantFrom('F32', 'F16', 'Q4_0', 'IQ4_NL', 'I8'), fc.nat(5), fc.nat(3)), { maxLength: 8 }); // prettier-ignore
  await fc.assert(
    fc.asyncProperty(shapes, fc.constantFrom(32, 64, 1024), async (list, alignment) => {
      const layout = new GgufLayout(alignment);
      const sizes = { F32: 4, F16: 2, Q4_0: 18 / 32, IQ4_NL: 18 / 32, I8: 1 } as Record<string, number>;
      const tensors = list.map(([dtype, rows, blocks], i) => {
        const shape = [rows, 32 * blocks];
        const length = rows * 32 * blocks * sizes[dtype]!;
        return { name: `t${i}`, dtype, shape, length, place: layout.place(`t${i}`, dtype, shape, length) };
      });
      const keys = [keyBytes('general.alignment', { type: 'u32', value: alignment })];
      const head = Buffer.concat(layout.head(keys));
      const data = Buffer.alloc(layout.data.size, 1);
      for (const { position, bytes } of layout.data.known) data.set(bytes, position);
      const path = temporaryFile(t, 'b.gguf', Buffer.concat([head, data]));
      await GgufFile.with(path, (file) => {
        for (const { name, dtype, shape, length, place } of tensors)
          t.deepEqual(file.tensor(name), { dtype, shape, byteLength: length, position: head.length + place });
        return Promise.resolve();
      });
    }),
    { numRuns: 30 },
  );
});

test('names that readers have no room for, or that are there twice', (t) => {
  const layout = new GgufLayout();
  t.throws(() => layout.place('a'.repeat(64), 'F32', [1], 4), { code: 'ERR_VERTEXQ_FORMAT', message: /takes 64 bytes/ }); // prettier-ignore
  layout.place('a', 'F32', [1], 4);
  t.throws(() => layout.place('a', 'F32', [1], 4), { instanceOf: RangeError });
});

const floats = (...numbers: number[]): Tensor => ({ type: 0, shape: [numbers.length], data: new Uint8Array(Float32Array.from(numbers).buffer) }); // prettier-ignore
test('a tensor of an unknown type has the bytes up to the next', async (t) => {
  const odd: Tensor = { type: 99, shape: [7], data: Buffer.alloc(40, 9) };
  const path = temporaryFile(t, 'a.gguf', gguf({}, [['a', odd], ['b', floats(1)], ['c', odd]])); // prettier-ignore
  await GgufFile.with(path, async (file) => {
    t.like(file.tensor('a'), { dtype: 'type 99', shape: [7], byteLength: 64 });
    t.is(file.tensor('c').byteLength, 64);
    t.deepEqual([...(await file.read('a'))].slice(38, 42), [9, 9, 0, 0]);
  });
  const layout = new GgufLayout();
  layout.place('a', 'type 99', [7], 64);
  t.is(Buffer.concat(layout.head([])).readUInt32LE(24 + 8 + 1 + 4 + 8), 99);
});

test('parts of one file are read as one, whichever is given', async (t) => {
  const folder = temporaryFolder(t);
  const keysOf = (number: number) => {
    const keys = { 'split.no': number, 'split.count': 2, 'split.tensors.count': 3 };
    return Object.fromEntries(
      Object.entries(keys).map(([key, value]) => [key, { type: 'u32', value } as const]),
    );
  };
  const name = (number: number, of = 2) => join(folder, `m-0000${number}-of-0000${of}.gguf`);
  writeFileSync(name(1), gguf({ ...keysOf(0), 'general.name': { type: 'text', value: 'm' } }, [['a', floats(1, 2)]])); // prettier-ignore
  await t.throwsAsync(GgufFile.open(name(1)), {
    code: 'ERR_VERTEXQ_FILE',
    message: /m-00002-of-00002\.gguf/,
  });
  writeFileSync(name(2), gguf(keysOf(1), [['b', floats(3)], ['c', floats(4, 5)]])); // prettier-ignore
  for (const given of [name(1), name(2)])
    await GgufFile.with(given, async (file) => {
      t.is(file.header.metadata.get('general.name'), 'm');
      t.deepEqual([...file.tensors.keys()], ['a', 'b', 'c']);
      t.deepEqual([...new Float32Array((await file.read('c')).buffer)], [4, 5]);
      await file.requireUnchanged();
    });
  const broken = async (second: Buffer, message: RegExp) => {
    writeFileSync(name(2), second);
    await t.throwsAsync(GgufFile.open(name(1)), { code: 'ERR_VERTEXQ_GGUF', message });
  };
  await broken(gguf(keysOf(1), [['a', floats(3)]]), /tensor "a" is in a part before it too/);
  await broken(gguf(keysOf(0), [['b', floats(3)]]), /should be part 1 of 2 .* says 0 of 2/);
  await broken(gguf(keysOf(1), [['b', floats(3)]]), /is 3, and its parts have 2 tensors/);
  await broken(begin(0, 0), /says undefined of undefined/);
  writeFileSync(join(folder, 'other.gguf'), gguf(keysOf(0)));
  await t.throwsAsync(GgufFile.open(join(folder, 'other.gguf')), { message: /one of 2 parts, which should be called/ }); // prettier-ignore
  const many = gguf({ 'split.count': { type: 'u32', value: 2 ** 32 - 1 } });
  writeFileSync(join(folder, 'many.gguf'), many);
  await t.throwsAsync(GgufFile.open(join(folder, 'many.gguf')), { message: /should be a number up to 9999/ });
});
