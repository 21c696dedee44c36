import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { blockError, packed, unpacked } from '../../../lib/encodings/gguf/blocks';
import { ggufTypes, heldBy, type GgufType } from '../../../lib/encodings/gguf/table';
import { ggufTypeNames } from '../../../lib/encodings/names';
import { binding } from '../../../lib/native/binding';
import { finish } from '../../../lib/native/jobs';
import { dequantized } from '../../containers/gguf/dequantize';

// golden.json: random blocks, and what PyPI's gguf and ggml itself read in them (bench/formats/gguf_blocks_golden.py).
const golden = JSON.parse(fs.readFileSync(path.join(__dirname, 'golden.json'), 'utf8')) as Record<
  string,
  { bytes: string; floats: string }
>;

/** Where blocks of a type have float16 numbers. */
const halves: Record<string, number[]> = {
  ...{
    Q4_0: [0],
    Q4_1: [0, 2],
    Q5_0: [0],
    Q5_1: [0, 2],
    Q8_0: [0],
    Q2_K: [80, 82],
    Q3_K: [108],
    Q4_K: [0, 2],
  },
  ...{ Q5_K: [0, 2], Q6_K: [208], IQ4_NL: [0], IQ4_XS: [0] },
};

async function codesOf({ name, weights, settings, bytes }: GgufType, blocks: Uint8Array) {
  const inFeatures = (blocks.length / bytes) * weights;
  const groups = inFeatures / settings.groupSize;
  const codes = new Int8Array(inFeatures);
  const [scales, minima] = [new Float32Array(groups), new Float32Array(groups)];
  const to = { codesTo: codes, scalesTo: scales, minimaTo: minima };
  const shape = { rows: 1, cols: inFeatures, firstRow: 0, threads: 1 };
  await finish(() => binding().unpackGgml({ type: name, ...shape, input: blocks, ...to }), undefined);
  return { codes, scales, minima, outFeatures: 1, inFeatures };
}

const bits = (values: Float32Array) => [...new Uint32Array(values.buffer, values.byteOffset, values.length)];

test('the addon knows the same types', (t) => {
  for (const native of binding().ggmlTypes) {
    const { name, weights, bytes, settings } = ggufTypes[native.name as keyof typeof ggufTypes];
    const { grid, levels, table, groupSize } = settings;
    t.deepEqual({ name, weights, bytes, group: groupSize, grid, levels, table }, native);
  }
  t.is(binding().ggmlTypes.length, ggufTypeNames.length);
});

for (const name of ggufTypeNames)
  test(`${name}: blocks mean what ggml reads in them, bit for bit`, async (t) => {
    const type = ggufTypes[name];
    const [bytes, floats] = [
      Buffer.from(golden[name]!.bytes, 'hex'),
      Buffer.from(golden[name]!.floats, 'hex'),
    ];
    const shape = [1, (bytes.length / type.bytes) * type.weights] as const;
    const values = await unpacked(type, bytes, shape);
    t.deepEqual(bits(values), bits(new Float32Array(new Uint8Array(floats).buffer)));
    const { codes, scales, minima } = await codesOf(type, bytes);
    const { table, groupSize, grid } = type.settings;
    values.forEach((value, i) => {
      const [scale, code] = [scales[Math.floor(i / groupSize)]!, codes[i]!];
      const minimum = grid === 'float-minimum' ? minima[Math.floor(i / groupSize)]! : 0;
      if (value !== Math.fround((table ? table[code]! : code) * scale + minimum)) t.fail(`${name} ${i}`);
    });
    if (['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q6_K'].includes(name))
      t.deepEqual(
        bits(dequantized(name, bytes)).filter((b) => b !== 2 ** 31),
        bits(values).filter((b) => b !== 2 ** 31),
      );
  });

for (const name of ggufTypeNames)
  test(`${name}: any bytes come back from codes, scales and minima`, async (t) => {
    const type = ggufTypes[name];
    let [same, all] = [0, 0];
    const block = fc.tuple(
      fc.uint8Array({ minLength: 8 * type.bytes, maxLength: 8 * type.bytes }),
      fc.array(fc.integer({ min: 1, max: 0x7bff }), { minLength: 16, maxLength: 16 }),
      fc.boolean(),
    );
    await fc.assert(
      fc.asyncProperty(block, async ([random, steps, isNegative]) => {
        const bytes = new Uint8Array(random);
        const view = new DataView(bytes.buffer);
        for (let b = 0; b < 8; b++)
          halves[name]!.forEach((at, k) =>
            view.setUint16(b * type.bytes + at, steps[2 * b + k]! | (isNegative ? 0x8000 : 0), true),
          );
        const coded = await codesOf(type, bytes);
        const again = await packed(type, coded);
        const shape = [1, coded.inFeatures] as const;
        const [given, back] = [await unpacked(type, bytes, shape), await unpacked(type, again, shape)];
        t.true(given.every((value, i) => value === back[i]));
        t.deepEqual(await packed(type, await codesOf(type, again)), again);
        if (isNegative) return;
        for (let b = 0; b < 8; b++, all++)
          same +=
            Buffer.compare(
              bytes.subarray(b * type.bytes, (b + 1) * type.bytes),
              again.subarray(b * type.bytes, (b + 1) * type.bytes),
            ) === 0
              ? 1
              : 0;
      }),
      { numRuns: 60 },
    );
    // Others have factors that all are multiples of a number.
    t.true(same > 0.75 * all, `${same} of ${all}`);
  });

test('what a block cannot hold is refused, with the neuron', async (t) => {
  const shape = { outFeatures: 1, inFeatures: 256 };
  const coded = (scales: number[]) => ({
    ...shape,
    codes: new Int8Array(256),
    scales: Float32Array.from(scales),
  });
  const refused = (type: GgufType, layer: Parameters<typeof packed>[1], message: RegExp) =>
    t.throwsAsync(packed(type, layer, {}, 7), { code: 'ERR_VERTEXQ_SCALE_RANGE', message });
  const eight = (last: number) => [1, 2, 3, 4, 5, 6, 7, last];
  await refused(ggufTypes.Q4_0, coded(eight(1 / 3)), /^neuron 7: a block of Q4_0 cannot hold its scale/);
  await refused(ggufTypes.Q6_K, coded([...eight(0.5), ...eight(1000)]), /Q6_K cannot hold its scales/);
  await refused(ggufTypes.IQ4_XS, coded(eight(64)), /IQ4_XS cannot hold its scales/);
  await refused(ggufTypes.IQ4_XS, coded(eight(NaN)), /IQ4_XS cannot hold its scales/);
  await refused(
    ggufTypes.Q4_K,
    { ...coded(eight(8)), minima: Float32Array.from(eight(-1)) },
    /Q4_K cannot hold its minima/,
  );
  await refused(
    ggufTypes.Q4_0,
    { ...coded(eight(8)), codes: new Int8Array(256).fill(8) },
    /Q4_0 cannot hold its codes/,
  );
  await t.throwsAsync(packed(ggufTypes.Q4_K, { ...coded([1]), inFeatures: 32 }), {
    message: 'A weight cannot be Q4_K: its 32 inputs are no whole blocks of 256, of which Q4_K consists',
  });
});

test('a value that is not finite is named', async (t) => {
  const blocks = new Uint8Array(2 * 34);
  new DataView(blocks.buffer).setUint16(34, 0x7c00, true);
  blocks[34 + 2 + 5] = 1;
  await t.throwsAsync(unpacked(ggufTypes.Q8_0, blocks, [2, 32], {}, 3), {
    code: 'ERR_VERTEXQ_NOT_FINITE',
    message: /^neuron 4, input 0 is NaN/,
  });
});

test('the error of blocks, and what takes over where rows are no whole blocks', async (t) => {
  const weights = Float32Array.from({ length: 64 }, (_, i) => Math.fround(i / 8));
  const blocks = await packed(ggufTypes.Q8_0, {
    ...{ outFeatures: 2, inFeatures: 32, scales: Float32Array.of(0.25, 0.25) },
    codes: Int8Array.from({ length: 64 }, (_, i) => i >> 1),
  });
  const reference = { data: new Uint8Array(weights.buffer), type: 'F32' } as const;
  const { error, signal } = await blockError(ggufTypes.Q8_0, blocks, [2, 32], reference);
  t.is(error, 32 / 64);
  t.is(
    signal,
    weights.reduce((sum, w) => sum + w * w, 0),
  );
  const names = (inFeatures: number) =>
    ggufTypeNames.map((name) => heldBy(ggufTypes[name], [1, inFeatures])?.name);
  t.deepEqual(names(512), ggufTypeNames);
  t.deepEqual(names(576).slice(5), ['IQ4_NL', 'IQ4_NL', 'Q5_0', 'Q5_1', 'Q8_0', 'IQ4_NL', 'IQ4_NL']);
  t.deepEqual(names(100), Array<undefined>(12).fill(undefined));
});
