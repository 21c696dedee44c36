import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { openCheckpoint } from '../../../lib/containers/safetensors/checkpoint';
import type { FloatDtype } from '../../../lib/containers/safetensors/dtypes';
import type { Scheme } from '../../../lib/encodings/encoding';
import { partName } from '../../../lib/encodings/safetensors/layout';
import { checkpointEncodings } from '../../../lib/encodings/safetensors/table';
import { Unpacker } from '../../../lib/encodings/safetensors/unpack';
import { binding } from '../../../lib/native/binding';
import { finish } from '../../../lib/native/jobs';
import { sharedBytes } from '../../../lib/native/shared';
import type { Grid } from '../../../lib/types';
import { bytesOf, fileOf, type Tensors } from '../../checkpoints/make';
import { floats, readAll, unpackCompressed, unpackGptq } from '../../checkpoints/unpack';
import { temporaryFolder } from '../../files/temporary-folder';
import { formatsOfCheckpoints } from '../../checkpoints/formats';

interface Case {
  dtype: FloatDtype;
  grid: Grid;
  bits: number;
  shape: readonly [number, number];
  groupSize: number;
  seed: number;
}

const anyCase: fc.Arbitrary<Case> = fc
  .record({
    dtype: fc.constantFrom<FloatDtype>('F64', 'F32', 'F16', 'BF16'),
    grid: fc.constantFrom<Grid>('integer', 'asymmetric', 'full-range'),
    bits: fc.integer({ min: 1, max: 8 }),
    rows: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constantFrom(32, 64, 96, 128)),
    groups: fc.integer({ min: 1, max: 4 }),
    groupSize: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(16, 32)),
    seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
  })
  .map(({ rows, groups, groupSize, ...rest }) => ({ ...rest, groupSize, shape: [rows, groups * groupSize] }));

function numbers(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (state * 48271) % 2147483647;
    return state % most;
  };
}

/** Any codes, scales that all types hold, and zero points of a layer. */
function codesOf({ grid, bits, shape: [rows, cols], groupSize, seed }: Case) {
  const next = numbers(seed);
  const lowest = -(2 ** (bits - 1));
  const code = () => lowest + next(2 ** bits);
  const groups = cols / groupSize;
  return {
    codes: Int8Array.from({ length: rows * cols }, code),
    scales: Float32Array.from({ length: rows * groups }, () => (1 + next(7)) / 8),
    zeroPoints: Float32Array.from({ length: rows * groups }, () => (grid === 'asymmetric' ? code() : 0)),
  };
}

for (const format of formatsOfCheckpoints) {
  const encoding = checkpointEncodings[format];

  test(`${format}: what is packed is what is unpacked, by any ranges of rows`, async (t) => {
    const folder = temporaryFolder(t);
    let tried = 0;
    const property = async (given: Case) => {
      const { dtype, grid, bits, shape, groupSize } = given;
      const [rows, cols] = shape;
      const scheme: Scheme = { bits, levels: 2 ** bits, grid, groupSize };
      try {
        encoding.check(scheme);
      } catch {
        return;
      }
      if (encoding.unfit(shape, scheme) !== undefined) return;
      tried++;
      const layout = encoding.layout(shape, dtype, scheme);
      const { codes, scales, zeroPoints } = codesOf(given);
      const room = new Map(layout.parts.map((part) => [part, sharedBytes(part.byteLength)]));
      for (const { part, data } of layout.constants) room.get(part)!.set(data());
      await finish(
        () =>
          binding().packRows({
            ...{ input: codes, stepValues: scales, zeroValues: zeroPoints, rows, cols, groupSize, bits },
            ...{ ...layout.packing, threads: 2, outFeatures: rows, firstRow: 0 },
            codes: room.get(layout.codes)!,
            scales: layout.scales && room.get(layout.scales)!,
            zeroPoints: layout.zeroPoints && room.get(layout.zeroPoints)!,
          }),
        undefined,
      );
      const tensors: Tensors = {};
      for (const [part, data] of room)
        tensors[partName('a.weight', part)] = { dtype: part.dtype, shape: [...part.shape], data };
      const file = join(folder, `${tried}.safetensors`);
      writeFileSync(file, fileOf(tensors));
      const checkpoint = await openCheckpoint(file);
      try {
        const told = { group_0: { targets: ['Linear'], weights: { num_bits: bits } } };
        const config = { config_groups: told, checkpoint_format: format, sym: grid !== 'asymmetric' };
        const found = await encoding.found?.weightOf(checkpoint, 'a', config);
        t.is(found === undefined, encoding.isPlain);
        const values = new Float32Array(rows * cols);
        const own = values.map((_, i) => {
          const group = Math.floor(i / groupSize);
          return (codes[i]! - zeroPoints[group]!) * scales[group]!;
        });
        if (!found) {
          // Values in the weight's own type are all there is.
          const rounded = floats(Uint8Array.from(bytesOf(own, dtype)), dtype);
          const plain = {
            ...{ shape, bits: 8, groupSize: cols, packing: layout.packing, tensors: [], codes: 'a.weight' },
            ...{ scales: null, zeroPoints: null, groupOf: null },
          };
          await new Unpacker(checkpoint, plain).rows(0, rows, { valuesTo: values }, {});
          if (dtype !== 'BF16') t.deepEqual(values, rounded); // bytesOf cuts
          return;
        }
        t.deepEqual(found.inspected.shape, [...shape]);
        t.is(found.inspected.bits, bits);
        t.is(found.inspected.groupSize, groupSize);
        const unpacker = new Unpacker(checkpoint, found.packed);
        const all = {
          codesTo: new Int8Array(codes.length),
          scalesTo: new Float32Array(scales.length),
          zeroPointsTo: new Float32Array(scales.length),
          valuesTo: values,
        };
        const step = 32 * (1 + (given.seed % 3));
        const groups = cols / groupSize;
        for (let begin = 0; begin < rows; begin += step) {
          const end = Math.min(rows, begin + step);
          const reference = bytesOf(own.subarray(begin * cols, end * cols), 'F32');
          const { error, signal } = await unpacker.rows(
            begin,
            end,
            {
              codesTo: all.codesTo.subarray(begin * cols, end * cols),
              scalesTo: all.scalesTo.subarray(begin * groups, end * groups),
              zeroPointsTo: all.zeroPointsTo.subarray(begin * groups, end * groups),
              valuesTo: all.valuesTo.subarray(begin * cols, end * cols),
              ...{ reference, type: 'F32' },
            },
            {},
          );
          t.is(error, 0);
          const squares = own
            .subarray(begin * cols, end * cols)
            .reduce((sum, value) => sum + value * value, 0);
          t.true(Math.abs(signal - squares) <= 1e-9 * squares);
        }
        t.deepEqual(all, { codesTo: codes, scalesTo: scales, zeroPointsTo: zeroPoints, valuesTo: own });
        // The readers that were written from the formats' specifications agree.
        const read = await readAll(file);
        const specified =
          format === 'compressed-tensors'
            ? unpackCompressed(read, 'a', bits)
            : unpackGptq(read, 'a', bits, format === 'gptq' ? 1 : 2);
        t.deepEqual(specified.values, own);
      } finally {
        await checkpoint.close();
      }
    };
    await fc.assert(fc.asyncProperty(anyCase, property), { numRuns: 400 });
    t.true(tried >= 20, String(tried));
  });
}

test('gptq: files of others, whose inputs are in any order of groups', async (t) => {
  const folder = temporaryFolder(t);
  const next = numbers(5);
  const [rows, cols, groups, bits] = [32, 64, 4, 4];
  const words = (count: number) => Int32Array.from({ length: count }, () => next(2 ** 31 - 1) * 2);
  const groupOf = Int32Array.from({ length: cols }, () => next(groups));
  const bytes = ({ buffer }: Int32Array) => new Uint8Array(buffer);
  const scales = Float32Array.from({ length: groups * rows }, () => (1 + next(9)) / 16);
  const file = join(folder, 'act-order.safetensors');
  for (const [dtype, version] of [
    ['F16', 1],
    ['BF16', 2],
    ['F32', 1],
  ] as const) {
    const tensors: Tensors = {
      'a.qweight': {
        dtype: 'I32',
        shape: [(cols * bits) / 32, rows],
        data: bytes(words((cols * bits * rows) / 32)),
      },
      'a.qzeros': {
        dtype: 'I32',
        shape: [groups, (rows * bits) / 32],
        data: bytes(words((groups * rows * bits) / 32)),
      },
      'a.scales': { dtype, shape: [groups, rows], data: bytesOf(scales, dtype) },
      'a.g_idx': { dtype: 'I32', shape: [cols], data: bytes(groupOf) },
    };
    writeFileSync(file, fileOf(tensors));
    const { weightOf } = checkpointEncodings.gptq.found!;
    const checkpoint = await openCheckpoint(file);
    const found = (await weightOf(checkpoint, 'a', {
      checkpoint_format: version === 1 ? 'gptq' : 'gptq_v2',
    }))!;
    const values = new Float32Array(rows * cols);
    await new Unpacker(checkpoint, found.packed).rows(0, rows, { valuesTo: values }, {});
    await checkpoint.close();
    t.deepEqual(values, unpackGptq(await readAll(file), 'a', bits, version).values);

    // An input that is in no group, a type or shape that is another: refused, never read past the end.
    const wrong = groupOf.slice();
    wrong[7] = groups;
    writeFileSync(
      file,
      fileOf({ ...tensors, 'a.g_idx': { dtype: 'I32', shape: [cols], data: bytes(wrong) } }),
    );
    const broken = await openCheckpoint(file);
    const still = (await weightOf(broken, 'a', {}))!;
    await t.throwsAsync(new Unpacker(broken, still.packed).rows(0, rows, {}, {}), { instanceOf: RangeError });
    await broken.close();
    for (const change of [
      { 'a.g_idx': { dtype: 'I64', shape: [cols / 2], data: bytes(groupOf) } },
      {
        'a.scales': { dtype: 'F32', shape: [groups, rows / 2], data: bytesOf(scales.subarray(0, 64), 'F32') },
      },
      { 'a.qzeros': { dtype: 'I32', shape: [groups / 2, 4], data: bytes(words(8)) } },
    ]) {
      writeFileSync(file, fileOf({ ...tensors, ...change }));
      const odd = await openCheckpoint(file);
      t.is(await weightOf(odd, 'a', {}), undefined);
      await odd.close();
    }
  }
});
