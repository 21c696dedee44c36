import test from 'ava';
import fc from 'fast-check';
import {
  convert,
  packBlocks,
  packIntegers,
  permuted,
  transposed,
  type TypedArray,
  valuesNow,
  valuesOf,
} from '../../lib/native/tensors';
import { anyAlphabet, codesOf, plainValues } from '../encodings/onnx/codes';
import { transposed as plainTranspose } from '../numbers';

/** The same numbers in shared memory, which jobs take, and in memory that can be taken away. */
function bothWays<Values extends TypedArray>(values: Values): [Values, Values] {
  const Kind = values.constructor as new (buffer: ArrayBufferLike) => Values;
  const shared = new SharedArrayBuffer(values.byteLength);
  new Uint8Array(shared).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return [values, new Kind(shared)];
}

const bits = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('hex');

/** Lengths below and above those at which work is cut, and jobs begin. */
const lengths = fc.constantFrom(0, 1, 7, 100, 2 ** 14, 2 ** 14 + 1, 2 ** 17 + 3, 2 ** 18 + 5);

const nasty = [
  0,
  -0,
  NaN,
  Infinity,
  -Infinity,
  65504,
  65519.99,
  65520,
  -65536,
  2 ** -24,
  2 ** -25,
  2 ** -149,
];
const floats = (length: number, seed: number) =>
  Float64Array.from({ length }, (_, i) =>
    i % 3 === 0 ? nasty[(i / 3 + seed) % nasty.length]! : Math.sin(i + seed) * 10 ** ((i % 60) - 30),
  );

test('conversions are what JavaScript makes of the numbers, in jobs and in parts', async (t) => {
  await fc.assert(
    fc.asyncProperty(lengths, fc.nat(1000), async (length, seed) => {
      const doubles = floats(length, seed);
      const integers = Int32Array.from({ length }, (_, i) => Math.imul(i + seed, 0x9e3779b1));
      for (const [values, from, to, expected] of [
        [doubles, 'F64', 'F32', Float32Array.from(doubles)],
        [Float32Array.from(doubles), 'F32', 'F64', Float64Array.from(Float32Array.from(doubles))],
        [integers, 'I32', 'I64', BigInt64Array.from(integers, BigInt)],
        [integers, 'I32', 'F32', Float32Array.from(integers)],
        [new Uint8Array(integers.buffer), 'U8', 'F64', Float64Array.from(new Uint8Array(integers.buffer))],
      ] as const)
        for (const way of bothWays(values)) {
          const { data, finite } = await convert(way, from, to);
          t.is(bits(data), bits(expected), `${from} to ${to}`);
          t.is(finite, from === 'U8' || from === 'I32' || (expected as Float32Array).every(Number.isFinite));
        }
    }),
    { numRuns: 20 },
  );
});

test('permutations are what a walk over all elements finds, in jobs and in parts', async (t) => {
  const kinds = [Uint8Array, Uint16Array, Float32Array, Float64Array] as unknown as Float32ArrayConstructor[];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(
        [3, 5, 2],
        [1, 7, 1, 4],
        [300, 500],
        [64, 1100],
        [40, 3, 1000],
        [0, 4],
        [2, 2, 2, 2, 2],
        [],
      ),
      fc.constantFrom(...kinds),
      fc.infiniteStream(fc.nat()),
      async (dims, Kind, stream) => {
        const draws = [...stream.take(dims.length)];
        const order = dims.map((_, i) => i).sort((a, b) => draws[a]! - draws[b]! || a - b);
        const length = dims.reduce<number>((a, b) => a * b, 1);
        const values = Kind.from({ length }, (_, i) => i % 251);
        const strides = dims.map((_, i) => dims.slice(i + 1).reduce<number>((a, b) => a * b, 1));
        const expected = values.map((_, i) => {
          let [rest, at] = [i, 0];
          for (const axis of [...order].reverse()) {
            at += (rest % dims[axis]!) * strides[axis]!;
            rest = Math.floor(rest / dims[axis]!);
          }
          return values[at]!;
        });
        for (const way of bothWays(values)) t.is(bits(await permuted(way, dims, order)), bits(expected));
      },
    ),
    { numRuns: 60 },
  );
  const values = Float32Array.from({ length: 300 * 400 }, (_, i) => i);
  t.deepEqual(await transposed(values, 300, 400), plainTranspose(values, 300, 400));
});

test('codes are packed alike in jobs and in parts, and their values are those of the definition', async (t) => {
  const sizes = fc.constantFrom<[number, number]>([1, 1], [5, 33], [17, 4096], [700, 100], [2000, 64]);
  await fc.assert(
    fc.asyncProperty(anyAlphabet, sizes, fc.constantFrom(16, 32, 64), async (alphabet, [out, ins], group) => {
      const layer = codesOf(alphabet, out, ins, group);
      const [, shared] = bothWays(layer.codes);
      t.is(bits(await valuesOf(layer)), bits(plainValues(layer)));
      t.is(bits(await valuesOf({ ...layer, codes: shared })), bits(plainValues(layer)));
      t.is(bits(valuesNow(layer)), bits(plainValues(layer)));
      const form = { blockSize: 16, bits: 8, offset: 128, doubled: false, hasZeroPoints: false };
      const whole = { ...layer, zeroPoints: null };
      const [one, other] = [
        await packBlocks(whole, form),
        await packBlocks({ ...whole, codes: shared }, form),
      ];
      t.is(bits(one.codes), bits(other.codes));
      t.is(bits(one.scales), bits(other.scales));
      const integers = { bits: 4, doubled: false, rowLength: ins + 3 };
      t.is(
        bits(await packIntegers(layer.codes, [out, ins], integers)),
        bits(await packIntegers(shared, [out, ins], integers)),
      );
    }),
    { numRuns: 30 },
  );
});

test('what is taken away, in the middle of the work too, is refused; an abort rejects', async (t) => {
  for (const length of [100, 2 ** 24]) {
    const values = new Float32Array(length);
    const job = convert(values, 'F32', 'F64').then(
      () => null,
      (error: unknown) => error,
    );
    const late = new Promise<void>((resolve) => setImmediate(resolve));
    await late;
    structuredClone(values, { transfer: [values.buffer] });
    const outcome = await job;
    t.true(outcome === null || outcome instanceof TypeError, String(outcome));
  }
  for (const values of bothWays(new Float32Array(2 ** 23))) {
    const controller = new AbortController();
    const job = transposed(values, 2 ** 10, 2 ** 13, controller.signal);
    controller.abort(new Error('enough'));
    await t.throwsAsync(job, { message: 'enough' });
  }
  const Elastic = ArrayBuffer as new (length: number, options: object) => ArrayBuffer;
  const elastic = new Float32Array(new Elastic(400, { maxByteLength: 4000 }));
  t.is((await convert(elastic, 'F32', 'F64')).data.length, 100);
});
