import test from 'ava';
import fc from 'fast-check';
import {
  checkGroupSize,
  packMatMulNBits,
  type PackedWeight,
} from '../../../lib/encodings/onnx/packed-blocks';
import type { Codes } from '../../../lib/encodings/onnx/integer-codes';
import { quantizeLayer } from '../../../lib/index';
import type { Grid, QuantizedLayer } from '../../../lib/types';
import { anyAlphabet, codesOf, plainValues } from './codes';

/** `width` bits from bit `at` of the bytes that begin at `from`, read one bit at a time. */
function bitsAt(bytes: Uint8Array, from: number, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++)
    value += ((bytes[from + Math.floor((at + i) / 8)]! >> ((at + i) % 8)) & 1) << i;
  return value;
}

/** Every value that a packed weight stands for, [outFeatures, blocks · blockSize]: the padding too. */
function unpack(packed: PackedWeight, outFeatures: number): number[][] {
  const { bits, blockSize, blocks, codes, scales, zeroPoints } = packed;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  return Array.from({ length: outFeatures }, (_, n) =>
    Array.from({ length: blocks * blockSize }, (_, k) => {
      const block = Math.floor(k / blockSize);
      const start = ((n * blocks + block) * blockSize * bits) / 8;
      const zero = zeroPoints ? bitsAt(zeroPoints, n * zeroBytes, block * bits, bits) : 2 ** (bits - 1);
      const code = bitsAt(codes, start, (k % blockSize) * bits, bits);
      return Math.fround((code - zero) * scales[n * blocks + block]!);
    }),
  );
}

/** Without the sign of zero. */
const plain = (values: Iterable<number>): number[] => Array.from(values, (value) => value + 0);

function requireEqual(layer: Codes, packed: PackedWeight): void {
  const { outFeatures, inFeatures } = layer;
  const wanted = plainValues(layer);
  for (const [n, row] of unpack(packed, outFeatures).entries()) {
    const expected = plain(wanted.subarray(n * inFeatures, (n + 1) * inFeatures));
    const got = plain(row.slice(0, inFeatures));
    const wrong = got.findIndex((value, k) => value !== expected[k]);
    if (wrong >= 0) throw new Error(`neuron ${n}, input ${wrong}: ${got[wrong]}, not ${expected[wrong]}`);
    if (row.slice(inFeatures).some((value) => value !== 0)) throw new Error(`neuron ${n}: padding is not 0`);
  }
}

function requireShapes(layer: Codes, packed: PackedWeight): void {
  const { bits, blockSize, blocks } = packed;
  const per = layer.outFeatures;
  const ok =
    [2, 4, 8].includes(bits) &&
    [16, 32, 64, 128, 256].includes(blockSize) &&
    blocks === Math.ceil(layer.inFeatures / blockSize) &&
    packed.codes.length === (per * blocks * blockSize * bits) / 8 &&
    packed.scales.length === per * blocks &&
    (packed.zeroPoints === null || packed.zeroPoints.length === per * Math.ceil((blocks * bits) / 8));
  if (!ok) throw new Error(`${bits} bits, ${blocks} blocks of ${blockSize}: ${packed.codes.length} bytes`);
}

const anyLayer: fc.Arbitrary<Codes> = fc
  .record({
    alphabet: anyAlphabet,
    outFeatures: fc.integer({ min: 1, max: 4 }),
    inFeatures: fc.integer({ min: 1, max: 300 }),
    group: fc.oneof(fc.constantFrom(16, 32, 48, 64, 80, 96, 128, 256, 512), fc.constant(Infinity)),
  })
  .map(({ alphabet, outFeatures, inFeatures, group }) => codesOf(alphabet, outFeatures, inFeatures, group));

test('any codes, on every grid, come back as they were, and padding stands for 0', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyLayer, async (layer) => {
      const packed = await packMatMulNBits(layer);
      requireShapes(layer, packed);
      requireEqual(layer, packed);
    }),
    { numRuns: 600 },
  );
  t.pass();
});

test('what quantizeLayer makes comes back as dequantize() gives it', async (t) => {
  const options = fc.oneof(
    fc.record({ bits: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ levels: fc.constant(3) }),
    fc.record({ bits: fc.integer({ min: 2, max: 8 }), grid: fc.constantFrom<Grid>('asymmetric') }),
    fc.record({ bits: fc.integer({ min: 1, max: 7 }), grid: fc.constantFrom<Grid>('zero-free') }),
    fc.record({ bits: fc.integer({ min: 2, max: 8 }), grid: fc.constantFrom<Grid>('full-range') }),
  );
  const sizes = fc.record({
    rows: fc.integer({ min: 1, max: 4 }),
    columns: fc.integer({ min: 1, max: 100 }),
  });
  const groups = fc.constantFrom<number | 'channel'>(16, 32, 48, 128, 'channel');
  await fc.assert(
    fc.asyncProperty(
      options,
      sizes,
      groups,
      fc.nat(1e6),
      async (alphabet, { rows, columns }, groupSize, seed) => {
        const weight = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + i * (i % 17)));
        weight.fill(0, 0, seed % 3 === 0 ? columns : 0); // an all-zero neuron
        const layer: QuantizedLayer = await quantizeLayer(
          { weight, outFeatures: rows, inFeatures: columns },
          { ...alphabet, groupSize, method: 'msq', threads: 1 },
        );
        requireEqual(layer, await packMatMulNBits(layer));
      },
    ),
    { numRuns: 120 },
  );
  t.pass();
});

const oneRow = (levels: number, codes: number[], zero: number | null, groupSize = codes.length): Codes => ({
  codes: Int8Array.from(codes),
  scales: new Float32Array(Math.ceil(codes.length / groupSize)).fill(0.5),
  zeroPoints: zero === null ? null : new Float32Array(Math.ceil(codes.length / groupSize)).fill(zero),
  levels,
  groupSize,
  outFeatures: 1,
  inFeatures: codes.length,
});

test('the codes of each grid: ternary 1, 2, 3; signs 1, 3; zero-free fours 5, 7, 9, 11; −3…3 at 5…11', async (t) => {
  const first = async (layer: Codes) => {
    const { bits, codes, zeroPoints } = await packMatMulNBits(layer);
    t.is(zeroPoints, null);
    return {
      bits,
      codes: layer.codes.reduce<number[]>((all, _, i) => [...all, bitsAt(codes, 0, i * bits, bits)], []),
    };
  };
  t.deepEqual(await first(oneRow(3, [-1, 0, 1], null)), { bits: 2, codes: [1, 2, 3] });
  t.deepEqual(await first(oneRow(2, [-1, 0], -0.5)), { bits: 2, codes: [1, 3] });
  t.deepEqual(await first(oneRow(4, [-2, -1, 0, 1], -0.5)), { bits: 4, codes: [5, 7, 9, 11] });
  t.deepEqual(await first(oneRow(7, [-3, 0, 3], null)), { bits: 4, codes: [5, 8, 11] });
});

test('a group becomes as few bytes as possible: blocks of its own size, or parts of it', async (t) => {
  const blockSize = async (inFeatures: number, groupSize: number) =>
    (await packMatMulNBits(oneRow(15, new Array<number>(inFeatures).fill(1), null, groupSize))).blockSize;
  t.is(await blockSize(256, 32), 32);
  t.is(await blockSize(256, 128), 128);
  t.is(await blockSize(1024, 512), 256);
  t.is(await blockSize(96, 48), 16);
  t.is(await blockSize(160, 96), 32);
  t.is(await blockSize(16, 16), 16);
  t.is(await blockSize(1024, 1024), 256);
});

test('refused: groups that no block divides, and 256 zero-free levels', async (t) => {
  for (const size of [1, 8, 17, 20, 24, 100])
    t.regex(
      t.throws(() => checkGroupSize(size), { instanceOf: RangeError }).message,
      new RegExp(`16.*not ${size}`),
    );
  for (const size of ['channel', 16, 32, 48, 1024] as const) t.notThrows(() => checkGroupSize(size));
  const error = await t.throwsAsync(packMatMulNBits(oneRow(256, [-128, 127], -0.5)), {
    code: 'ERR_VERTEXQ_FORMAT',
  });
  t.regex(error.message, /zero-free.*asymmetric/);
});
