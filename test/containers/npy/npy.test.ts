import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../../lib/errors';
import type { NpyData } from '../../../lib/containers/npy/npy';
import { parseNpy, readNpy } from './read';
import { formatNpy } from './format-npy';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';

/** A `.npy` file with any header. */
function npy(dict: string, data: Uint8Array | number = 0, version = 1, headerLength?: number): Uint8Array {
  const content = typeof data === 'number' ? new Uint8Array(data) : data;
  const preamble = version === 1 ? 10 : 12;
  const bytes = Buffer.alloc(preamble + dict.length + content.length);
  bytes.write('\x93NUMPY', 'latin1');
  bytes[6] = version;
  if (version === 1) bytes.writeUInt16LE(headerLength ?? dict.length, 8);
  else bytes.writeUInt32LE(headerLength ?? dict.length, 8);
  bytes.write(dict, preamble, 'latin1');
  bytes.set(content, preamble + dict.length);
  return bytes;
}

const dict = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

function bytesOf(data: NpyData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

async function throwsNpy(t: ExecutionContext, bytes: Uint8Array, message: RegExp): Promise<void> {
  const error = await t.throwsAsync(parseNpy(bytes, 'some.npy'), { instanceOf: VertexqError, message });
  t.is(error?.code, 'ERR_VERTEXQ_NPY');
  t.true(error?.message.startsWith('some.npy: '));
}

const kinds = [
  [Float32Array, 'float32'],
  [Float64Array, 'float64'],
  [Int8Array, 'int8'],
  [Int16Array, 'int16'],
  [Int32Array, 'int32'],
  [BigInt64Array, 'int64'],
  [Uint8Array, 'uint8'],
  [Uint16Array, 'uint16'],
  [Uint32Array, 'uint32'],
  [BigUint64Array, 'uint64'],
] as const;

test('what formatNpy writes, parseNpy reads, at any alignment', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(4), { maxLength: 4 }),
      fc.constantFrom(...kinds),
      fc.nat(7),
      fc.infiniteStream(fc.nat(255)),
      async (dims, [Elements, type], shift, stream) => {
        const length = dims.reduce((product, dim) => product * dim, 1);
        const raw = Uint8Array.from(stream.take(length * Elements.BYTES_PER_ELEMENT));
        const data = new Elements(raw.buffer) as NpyData;
        const file = formatNpy({ data, dims });
        t.is(file.length % 64, (length * Elements.BYTES_PER_ELEMENT) % 64);
        const shifted = new Uint8Array(file.length + shift).subarray(shift);
        shifted.set(file);
        const array = await parseNpy(shifted, 'some.npy');
        t.is(array.type, type);
        t.deepEqual(array.dims, dims);
        t.true(array.data instanceof Elements);
        t.deepEqual(bytesOf(array.data), raw);
      },
    ),
  );
});

test('booleans and half precision', async (t) => {
  const bool = await parseNpy(formatNpy({ data: Uint8Array.of(0, 1, 1), dims: [3], type: 'bool' }), 'x');
  t.deepEqual(bool, { data: Uint8Array.of(0, 1, 1), dims: [3], type: 'bool' });
  const half = await parseNpy(
    formatNpy({ data: Uint16Array.of(0x3c00, 0xc000), dims: [2, 1], type: 'float16' }),
    'x',
  );
  t.deepEqual(half, { data: Float32Array.of(1, -2), dims: [2, 1], type: 'float32' });
});

test('a file that NumPy wrote', async (t) => {
  // numpy.save of numpy.arange(6, dtype='<i8').reshape(2, 3), as NumPy 1.26 writes it.
  const header = dict('<i8', '(2, 3)').padEnd(117) + '\n';
  t.is(header.length, 118);
  const array = await parseNpy(npy(header, bytesOf(BigInt64Array.of(0n, 1n, 2n, 3n, 4n, 5n))), 'x');
  t.deepEqual(array, { data: BigInt64Array.of(0n, 1n, 2n, 3n, 4n, 5n), dims: [2, 3], type: 'int64' });
});

test('other ways to write the same header', async (t) => {
  const data = bytesOf(Float32Array.of(1, 2));
  const expected = { data: Float32Array.of(1, 2), dims: [2], type: 'float32' };
  for (const text of [
    `{'descr':'<f4','fortran_order':False,'shape':(2,)}`,
    `{"shape": (2,), "fortran_order": True, "descr": "<f4"}   \n`,
    ` { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2L , ) , } `,
  ])
    for (const version of [1, 2, 3]) t.deepEqual(await parseNpy(npy(text, data, version), 'x'), expected);
});

test('rank 0 and dimensions of 0', async (t) => {
  t.deepEqual(await parseNpy(npy(dict('<f4', '()'), bytesOf(Float32Array.of(7))), 'x'), {
    data: Float32Array.of(7),
    dims: [],
    type: 'float32',
  });
  t.deepEqual((await parseNpy(npy(dict('<f4', '(3, 0, 5)', 'True')), 'x')).dims, [3, 0, 5]);
});

test('Fortran order becomes C order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(4), { maxLength: 4 }),
      fc.constantFrom('<i4', '<i8'),
      async (dims, descr) => {
        const length = dims.reduce((product, dim) => product * dim, 1);
        const numbers = Array.from({ length }, (_, i) => i);
        const stored = descr === '<i4' ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt);
        const shape = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`;
        const { data } = await parseNpy(npy(dict(descr, shape, 'True'), bytesOf(stored)), 'x');
        for (let position = 0; position < length; position++) {
          // The index of `position` in C order, and where that lies in Fortran order.
          let rest = position;
          const index = dims.map(() => 0);
          for (let axis = dims.length - 1; axis >= 0; axis--) {
            index[axis] = rest % dims[axis]!;
            rest = Math.floor(rest / dims[axis]!);
          }
          const from = index.reduceRight((sum, i, axis) => sum * dims[axis]! + i, 0);
          if (Number(data[position]) !== from) return false;
        }
        return data.length === length;
      },
    ),
  );
  t.pass();
});

test('no .npy file at all', async (t) => {
  await throwsNpy(t, new Uint8Array(), /does not begin with "\\x93NUMPY", it has 0 bytes/);
  await throwsNpy(t, Buffer.from('PK\x03\x04 and more of a zip'), /not a \.npy file/);
  for (let length = 1; length < 12; length++)
    await throwsNpy(t, npy(dict('<f4', '(1,)'), 4).subarray(0, length), /not a \.npy file|truncated/);
  await throwsNpy(
    t,
    npy(dict('<f4', '(1,)'), 4, 4),
    /version 1\.0, 2\.0 or 3\.0 of the \.npy format, not 4\.0/,
  );
});

test('truncated, trailing, or a header that goes past the end', async (t) => {
  const file = npy(dict('<f4', '(2, 3)'), 24);
  for (let length = 12; length < file.length; length++)
    await throwsNpy(t, file.subarray(0, length), /truncated/);
  await throwsNpy(t, npy(dict('<f4', '(2, 3)'), 25), /1 bytes follow the data/);
  await throwsNpy(t, npy(dict('<f4', '(2, 3)'), 24, 1, 60_000), /truncated: its header ends at byte 60010/);
  await throwsNpy(t, npy(dict('<f4', '(2, 3)'), 24, 2, 0xffffffff), /a header of 4294967295 bytes/);
  await throwsNpy(
    t,
    npy(dict('<f4', '(2, 3)'), 24, 1, 0),
    /expected "\{" at character 0 of the header, found its end/,
  );
});

test('dimensions that are huge, negative, or no whole numbers', async (t) => {
  await throwsNpy(t, npy(dict('<f4', '(-1, 2)'), 8), /the dimension -1: expected whole numbers from 0/);
  await throwsNpy(t, npy(dict('<f4', '(99999999999999999999,)'), 8), /the dimension 100000000000000000000/);
  await throwsNpy(t, npy(dict('<f4', `(${'9'.repeat(395)},)`), 8), /the dimension Infinity/);
  await throwsNpy(t, npy(dict('<f4', '(4294967296, 4294967296)'), 8), /more numbers than any file can hold/);
  await throwsNpy(t, npy(dict('<f4', '(9007199254740991,)'), 8), /more numbers than any file can hold/);
  await throwsNpy(
    t,
    npy(dict('<f4', '(1000000000000,)'), 8),
    /truncated: the shape \(1000000000000\) of float32/,
  );
  await throwsNpy(t, npy(dict('<f4', '(1.5,)'), 8), /expected "," at character/);
  await throwsNpy(t, npy(dict('<f4', '(2)'), 8), /expected "," at character/);
  await throwsNpy(t, npy(dict('<f4', '2'), 8), /expected "\("/);
  await throwsNpy(
    t,
    npy(dict('<f4', '(2, 2'), 16),
    /expected a whole number at character \d+ of the header, found "\}"/,
  );
  await throwsNpy(t, npy(dict('<f4', 'None'), 8), /"shape" is not a tuple/);
  await throwsNpy(t, npy(dict('<f4', `(${'1, '.repeat(65)})`), 4), /65 dimensions: expected up to 64/);
  t.is((await parseNpy(npy(dict('<f4', '(0, 4294967296, 4294967296)')), 'x')).data.length, 0);
});

test('dtypes that hold no numbers or other ones', async (t) => {
  await throwsNpy(t, npy(dict('|O', '(1,)'), 8), /object .* holds Python objects/);
  await throwsNpy(t, npy(dict('>f4', '(1,)'), 4), /big-endian numbers \(dtype ">f4"\)/);
  await throwsNpy(t, npy(dict('=f4', '(1,)'), 4), /has no byte order: expected "<f4"/);
  await throwsNpy(
    t,
    npy(dict('<f16', '(1,)'), 16),
    /dtype "<f16" is not supported: expected one of float16, float32/,
  );
  await throwsNpy(t, npy(dict('<U5', '(1,)'), 20), /dtype "<U5" is not supported/);
  await throwsNpy(t, npy(dict('', '(1,)'), 4), /dtype "" is not supported/);
  await throwsNpy(t, npy(dict('\x1b[31m', '(1,)'), 4), /dtype "\\u001b\[31m" is not supported/);
  await throwsNpy(
    t,
    npy(`{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}`, 4),
    /structured dtypes/,
  );
  await throwsNpy(t, npy(`{'descr': True, 'fortran_order': False, 'shape': (1,)}`, 4), /structured dtypes/);
  await t.throwsAsync(parseNpy(npy(dict('|b1', '(3,)'), Uint8Array.of(0, 1, 2)), 'some.npy'), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: 'some.npy: the tensor "x" is BOOL and has other bytes than 0 and 1: element 2 is 2',
  });
});

test('headers that are no dict of the three keys', async (t) => {
  await throwsNpy(t, npy(`{'descr': '<f4', 'shape': (1,)}`, 4), /the header has no "fortran_order"/);
  await throwsNpy(
    t,
    npy(`{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}`, 4),
    /"descr" twice/,
  );
  await throwsNpy(
    t,
    npy(`{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'a': 'b'}`, 4),
    /has the keys .*"a"/,
  );
  await throwsNpy(
    t,
    npy(`{'__proto__': '<f4', 'fortran_order': False, 'shape': (1,)}`, 4),
    /the header has no "descr"/,
  );
  await throwsNpy(t, npy(dict('<f4', '(1,)', '(0,)'), 4), /"fortran_order" is neither True nor False/);
  await throwsNpy(t, npy(dict('<f4', '(1,)') + 'x', 4), /expected the end of the header at character/);
  await throwsNpy(
    t,
    npy(`__import__('os')`, 4),
    /expected "\{" at character 0 of the header, found "__import__\('/,
  );
  await throwsNpy(t, npy(`{'descr': '<f4`, 4), /expected a string/);
  await throwsNpy(t, npy('('.repeat(60_000), 4), /expected "\{"/);
  await throwsNpy(t, npy(`{'descr': ${'('.repeat(60_000)}`, 4), /expected a whole number/);
});

test('any bytes end in an error of vertexq or an array', async (t) => {
  const valid = formatNpy({ data: Float32Array.of(1, 2, 3, 4), dims: [2, 2] });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(valid.length),
      async (changes, length) => {
        const bytes = valid.slice(0, length);
        for (const [at, byte] of changes) bytes[at] = byte;
        try {
          await parseNpy(bytes, 'some.npy');
        } catch (error) {
          if (!(error instanceof VertexqError)) throw error;
        }
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});

test('readNpy reads files, and says what is wrong with those it cannot', async (t) => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const path = temporaryFile(t, 'x.npy', formatNpy({ data, dims: [3, 4] }));
  t.deepEqual(await readNpy(path), { data, dims: [3, 4], type: 'float32' });

  const code = async (file: string) =>
    (await t.throwsAsync(readNpy(file), { instanceOf: VertexqError, message: new RegExp(`^${file}`) }))?.code;
  t.is(await code(`${path}.absent`), 'ERR_VERTEXQ_FILE');
  const folder = join(temporaryFolder(t), 'folder.npy');
  mkdirSync(folder);
  t.is(await code(folder), 'ERR_VERTEXQ_FILE');
  t.is(await code(temporaryFile(t, 'empty.npy', '')), 'ERR_VERTEXQ_NPY');
  // A header that promises a terabyte takes no memory.
  t.is(await code(temporaryFile(t, 'huge.npy', npy(dict('<f4', '(250000000000,)'), 100))), 'ERR_VERTEXQ_NPY');
});

test('a FIFO and a device are no files', async (t) => {
  if (process.platform === 'win32') {
    t.pass();
    return;
  }
  const fifo = join(temporaryFolder(t), 'fifo.npy');
  execFileSync('mkfifo', [fifo]);
  for (const path of [fifo, '/dev/zero'])
    await t.throwsAsync(readNpy(path), {
      instanceOf: VertexqError,
      message: `${path} is not a regular file`,
    });
});
