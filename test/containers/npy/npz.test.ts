import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { VertexqErrorCode } from '../../../lib/error-codes';
import { VertexqError } from '../../../lib/errors';
import type { ReadTensor } from '../../../lib/models/data/read-tensors';
import { formatNpy } from './format-npy';
import { formatNpz } from './make-npz';
import { readNpz } from './read';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { buildZip, type ZipPart } from './zip-builder';

const array: ReadTensor = { data: Float32Array.of(1, 2, 3, 4, 5, 6), dims: [2, 3], type: 'float32' };
const content = formatNpy(array);
const part: ZipPart = { name: 'x.npy', content };

async function rejects(
  t: ExecutionContext,
  bytes: Uint8Array,
  message: RegExp,
  code: VertexqErrorCode = 'ERR_VERTEXQ_NPZ',
) {
  const path = temporaryFile(t, 'some.npz', bytes);
  const error = await t.throwsAsync(readNpz(path), { instanceOf: VertexqError, message });
  t.is(error?.code, code);
  t.true(error?.message.startsWith(`${path}: `), error?.message);
}

test('what formatNpz writes, readNpz reads', async (t) => {
  const folder = temporaryFolder(t);
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.string({ maxLength: 8 }), { maxLength: 4, minLength: 1 }),
      fc.array(fc.float({ noNaN: true }), { maxLength: 50 }),
      fc.boolean(),
      async (names, numbers, compress) => {
        const data = Float32Array.from(numbers);
        const arrays = new Map(names.map((name) => [name, { data, dims: [data.length], type: 'float32' }]));
        const path = join(folder, 'x.npz');
        writeFileSync(path, formatNpz(arrays, { compress }));
        const back = await readNpz(path);
        t.deepEqual(new Set(back.keys()), new Set(names));
        for (const found of back.values()) t.deepEqual(found, arrays.get(names[0]!)!);
      },
    ),
    { numRuns: 50 },
  );
});

test('arrays of megabytes, well and badly compressible', async (t) => {
  const zeros = { data: new BigInt64Array(2_000_000), dims: [1000, 2000], type: 'int64' };
  const noise = { data: new Float32Array(500_001), dims: [500_001], type: 'float32' };
  for (let i = 0, state = 1; i < noise.data.length; i++) noise.data[i] = state = (state * 48271) % 2147483647;
  const arrays = new Map<string, ReadTensor>([
    ['zeros', zeros],
    ['noise', noise],
    ['__proto__', array],
  ]);
  for (const compress of [true, false]) {
    const back = await readNpz(temporaryFile(t, 'x.npz', formatNpz(arrays, { compress })));
    t.deepEqual([...back.keys()], [...arrays.keys()]);
    for (const [name, { data, dims }] of arrays) {
      t.deepEqual(back.get(name)!.dims, dims);
      const bytes = (of: ReadTensor['data']) => Buffer.from(of.buffer, of.byteOffset, of.byteLength);
      t.true(bytes(back.get(name)!.data).equals(bytes(data)));
    }
  }
});

test('zip64, comments, and other archives that are sound', async (t) => {
  for (const bytes of [
    buildZip([part]),
    buildZip([{ ...part, deflate: true }]),
    buildZip([{ ...part, zip64: true }]),
    buildZip([{ ...part, zip64: true, deflate: true }], { zip64: true }),
    buildZip([part], { comment: 'a comment of more than twenty-two bytes' }),
    buildZip([part], { comment: 'x'.repeat(65535) }),
  ]) {
    const back = await readNpz(temporaryFile(t, 'x.npz', bytes));
    t.deepEqual([...back], [['x', array]]);
  }
});

test('no archive, an empty one, or entries that are no arrays', async (t) => {
  await rejects(t, new Uint8Array(), /not a \.npz file, or truncated/);
  await rejects(t, content, /not a \.npz file, or truncated/);
  await rejects(t, Buffer.alloc(200_000, 'PK\x05\x06'), /not a \.npz file, or truncated|damaged/);
  await rejects(t, buildZip([]), /has no arrays/);
  await rejects(t, buildZip([part, { ...part, name: 'readme.txt' }]), /"readme\.txt" is no array/);
  await rejects(t, buildZip([part, { ...part, name: 'folder/' }]), /"folder\/" is no array/);
  await rejects(t, buildZip([part, part]), /two entries with the name "x\.npy"/);
  await rejects(t, buildZip([{ ...part, nameBytes: Uint8Array.of(0xff, 0xfe) }]), /name is not UTF-8/);
});

test('encrypted, unknown compression, several disks', async (t) => {
  await rejects(t, buildZip([{ ...part, flags: 1 }]), /"x\.npy" is encrypted/);
  await rejects(
    t,
    buildZip([{ ...part, method: 12 }]),
    /compressed by method 12: expected 0 \(stored\) or 8/,
  );
  const bytes = buildZip([part]);
  bytes.writeUInt16LE(3, bytes.length - 22 + 4);
  await rejects(t, bytes, /multi-disk zip files are not supported/);
});

test('truncated anywhere', async (t) => {
  const bytes = buildZip([part, { ...part, name: 'y.npy', deflate: true }]);
  for (let length = 0; length < bytes.length; length += 7)
    await rejects(t, bytes.subarray(0, length), /truncated/);
  // The middle is missing, and the end is there.
  await rejects(t, Buffer.concat([bytes.subarray(0, 50), bytes.subarray(200)]), /damaged/);
});

test('sizes that lie', async (t) => {
  const deflated = { ...part, deflate: true };
  await rejects(t, buildZip([{ ...part, size: 1e9 }]), /cannot have 1000000000 bytes/);
  await rejects(
    t,
    buildZip([{ ...deflated, size: 4e9 }]),
    /cannot have 4000000000 bytes: its \d+ bytes can hold/,
  );
  await rejects(
    t,
    buildZip([{ ...deflated, size: content.length + 1 }]),
    /bytes follow the data/,
    'ERR_VERTEXQ_NPY',
  );
  await rejects(t, buildZip([{ ...deflated, size: content.length - 1 }]), /more than the 151 bytes/);
  await rejects(t, buildZip([{ ...part, compressedSize: 1e6, size: 1e6 }]), /goes past byte/);
  await rejects(t, buildZip([{ ...part, offset: 1e6 }]), /goes past byte/);
  await rejects(t, buildZip([{ ...part, offset: 2 ** 60, zip64: true }]), /goes past byte/);
  await rejects(t, buildZip([{ ...part, offset: 1 }]), /goes past byte|invalid local file header/);
  await rejects(t, buildZip([{ ...deflated, crc: 1 }]), /the checksum of the entry "x\.npy" is wrong/);
  await rejects(t, buildZip([{ ...part, crc: 1 }]), /the checksum of the entry "x\.npy" is wrong/);
  await rejects(t, buildZip([part], { entries: 2 }), /truncated or damaged: it ends at byte/);
  await rejects(t, buildZip([part], { entries: 0 }), /has no arrays/);
});

test('a header that says less or more than the entry holds', async (t) => {
  const short = content.slice(0, content.length - 4);
  for (const deflate of [true, false]) {
    await rejects(t, buildZip([{ name: 'x.npy', content: short, deflate }]), /truncated/, 'ERR_VERTEXQ_NPY');
    const long = Buffer.concat([content, Buffer.alloc(100_000)]);
    await rejects(
      t,
      buildZip([{ name: 'x.npy', content: long, deflate }]),
      /follow the data/,
      'ERR_VERTEXQ_NPY',
    );
    for (const length of [0, 5, 11, 40])
      await rejects(
        t,
        buildZip([{ name: 'x.npy', content: content.slice(0, length), deflate }]),
        /not a \.npy file|truncated/,
        'ERR_VERTEXQ_NPY',
      );
  }
});

test('a bomb takes no memory', async (t) => {
  // 300 MB of zeros in 300 KB; the array's header says 24 bytes.
  const bomb = Buffer.concat([content, Buffer.alloc(3e8)]);
  const bytes = buildZip([{ name: 'x.npy', content: bomb, deflate: true, crc: crc32(bomb) }]);
  const before = process.memoryUsage().arrayBuffers;
  await rejects(t, bytes, /follow the data/, 'ERR_VERTEXQ_NPY');
  t.true(process.memoryUsage().arrayBuffers - before < 1e8);
  // More content than the directory says, while header and directory agree.
  await rejects(
    t,
    buildZip([{ name: 'x.npy', content: bomb.subarray(0, 1e7), deflate: true, size: content.length }]),
    /has more than the 152 bytes it should have/,
  );
});

test('entries that share bytes', async (t) => {
  await rejects(t, buildZip([part, { ...part, name: 'y.npy', offset: 0 }]), /"x\.npy" and "y\.npy" overlap/);
});

test('deflate streams that are broken, cut or followed by more', async (t) => {
  const noise = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 151 + 7) % 256));
  await rejects(t, buildZip([{ ...part, method: 8 }]), /damaged/);
  await rejects(t, buildZip([{ ...part, content: noise, method: 8 }]), /damaged|cannot have/);
  const whole = buildZip([{ ...part, deflate: true }]);
  const length = whole.readUInt32LE(18);
  await rejects(
    t,
    buildZip([{ ...part, deflate: true, compressedSize: length - 9 }]),
    /does not inflate|damaged/,
  );
  // Bytes after the end of a deflate stream are read by nobody.
  for (const length of [1, 1000, 1e6]) {
    const padded = buildZip([{ ...part, deflate: true, padding: new Uint8Array(length).fill(1) }]);
    t.deepEqual([...(await readNpz(temporaryFile(t, 'x.npz', padded)))], [['x', array]]);
  }
});

test('any bytes end in an error of vertexq or arrays', async (t) => {
  const valid = buildZip([part, { ...part, name: 'y.npy', deflate: true, zip64: true }], { zip64: true });
  const folder = temporaryFolder(t);
  const path = join(folder, 'x.npz');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.oneof({ weight: 3, arbitrary: fc.constant(valid.length) }, fc.nat(valid.length)),
      async (changes, length) => {
        const bytes = Buffer.from(valid.subarray(0, length));
        for (const [at, byte] of changes) bytes[at] = byte;
        writeFileSync(path, bytes);
        try {
          await readNpz(path);
        } catch (error) {
          if (!(error instanceof VertexqError)) throw error;
        }
      },
    ),
    { numRuns: 1000 },
  );
  rmSync(path);
  t.pass();
});
