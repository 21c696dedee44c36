import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint, quantizeLayer } from '../../lib';
import type { LayerReport } from '../../lib/types';
import { codeOf } from '../../lib/warning-codes';
import { temporaryFolder } from '../files/temporary-folder';
import { random } from '../models/networks';
import { smallModel, writeSmall } from './gguf/models';
import { bytesOf, fileOf } from './make';

const shape: [number, number] = [16, 256];
const small = (factor: number) => random(shape[0] * shape[1], 1).map((value) => factor * value);

const isTold = ({ warnings }: LayerReport) =>
  warnings.some((text) => codeOf(text) === 'WARN_VERTEXQ_ALL_ZERO');

for (const [format, isLost] of [
  ['gptq', true],
  ['gptq_v2', true],
  // Its scales are of the weight's own type.
  ['compressed-tensors', false],
] as const)
  test(`${format}: that weights of 1e-10 have become zeros is told, and nothing where they have not`, async (t) => {
    const folder = temporaryFolder(t);
    const input = join(folder, 'in.safetensors');
    for (const factor of [1e-10, 1e-3]) {
      const data = bytesOf(small(factor), 'F32');
      writeFileSync(input, fileOf({ 'model.layers.0.q_proj.weight': { dtype: 'F32', shape, data } }));
      const output = join(folder, `${factor}.safetensors`);
      const [layer] = (await quantizeCheckpoint(input, output, { format, groupSize: 32 })).layers;
      const expected = isLost && factor === 1e-10;
      t.is(isTold(layer!), expected, `${factor}`);
      t.is(layer!.error.weight === 1, expected, `${factor}: ${layer!.error.weight}`);
    }
  });

test('GGUF: a tensor of weights of 1e-10 has become zeros, and a warning says so; the others have none', async (t) => {
  const folder = temporaryFolder(t);
  const sizes = { hidden: 256, feedForward: 256, heads: 4, keyValueHeads: 2, headSize: 64, blocks: 1 };
  const model = smallModel('llama', sizes);
  const { values } = model.weights['model.layers.0.mlp.gate_proj.weight']!;
  values.forEach((value, i) => (values[i] = value * 1e-10));
  writeSmall(join(folder, 'in'), 'llama', 'F32', model);
  for (const format of ['gguf:q4_0', 'gguf:q8_0', 'gguf:q6_k'] as const) {
    const { layers } = await quantizeCheckpoint(join(folder, 'in'), join(folder, `${format.slice(5)}.gguf`), { format }); // prettier-ignore
    t.deepEqual(layers.filter(isTold).map(({ name }) => name), ['blk.0.ffn_gate'], format); // prettier-ignore
    t.is(layers.find(isTold)!.error.weight, 1);
  }
});

test('scales of float32 hold weights of 1e-10, and nothing is said', async (t) => {
  const [outFeatures, inFeatures] = shape;
  const { report } = await quantizeLayer(
    { weight: small(1e-10), outFeatures, inFeatures },
    { method: 'msq' },
  );
  t.true(report.error.weight < 0.2);
  t.false(isTold(report));
});

const zeroed = ({ warnings }: LayerReport) =>
  warnings.filter((text) => codeOf(text) === 'WARN_VERTEXQ_ZERO_GROUPS');

/** Of four rows and a group of a fifth all weights are 1e-10; those of the last row are 0, of which nothing is to be said. */
function partlySmall() {
  const [rows, cols] = shape;
  return small(1e-2).map((value, i) => {
    if (i >= (rows - 1) * cols) return 0;
    return i < 4 * cols + 32 ? 1e-10 * value : value;
  });
}

for (const [format, groupSize, told] of [
  ['gptq', 32, '33 of 128 groups of 32 weights have become all 0'],
  ['gptq', 'channel', '4 of 16 rows of 256 weights have become all 0'],
  ['compressed-tensors', 32, undefined],
] as const)
  test(`issue 21: ${format}, ${groupSize}: groups that have become 0 are counted, but not those that were`, async (t) => {
    const folder = temporaryFolder(t);
    const input = join(folder, 'in.safetensors');
    const data = bytesOf(partlySmall(), 'F32');
    // Small weights go in batches, larger ones by rows.
    const others = {
      'model.norm.weight': { dtype: 'F32' as const, shape: [16], data: bytesOf(random(16, 2), 'F32') },
    };
    for (const more of [{}, others]) {
      writeFileSync(
        input,
        fileOf({ ...more, 'model.layers.0.q_proj.weight': { dtype: 'F32', shape, data } }),
      );
      const output = join(folder, `out-${Object.keys(more).length}.safetensors`);
      const [layer] = (await quantizeCheckpoint(input, output, { format, groupSize })).layers;
      const warnings = zeroed(layer!);
      if (told === undefined) t.deepEqual(warnings, []);
      else t.regex(warnings[0] ?? '', new RegExp(`^${told}: their weights are too small`));
      t.false(isTold(layer!));
    }
  });

test('issue 21: GGUF: groups that have become 0 are counted', async (t) => {
  const folder = temporaryFolder(t);
  const sizes = { hidden: 256, feedForward: 256, heads: 4, keyValueHeads: 2, headSize: 64, blocks: 1 };
  const model = smallModel('llama', sizes);
  const { values } = model.weights['model.layers.0.mlp.gate_proj.weight']!;
  values.forEach((value, i) => (values[i] = i < 256 ? value * 1e-10 : value));
  writeSmall(join(folder, 'in'), 'llama', 'F32', model);
  for (const [format, told] of [
    ['gguf:q4_0', '8 of 2048 groups of 32'],
    ['gguf:q8_0', '8 of 2048 groups of 32'],
    ['gguf:q6_k', '16 of 4096 groups of 16'],
  ] as const) {
    const { layers } = await quantizeCheckpoint(join(folder, 'in'), join(folder, `${format.slice(5)}.gguf`), { format }); // prettier-ignore
    const lost = layers.filter((layer) => zeroed(layer).length > 0);
    t.deepEqual(lost.map(({ name }) => name), ['blk.0.ffn_gate'], format); // prettier-ignore
    t.true(zeroed(lost[0]!)[0]!.startsWith(told), zeroed(lost[0]!)[0]);
  }
});

// In the group of the fifth row gptq puts what others of the row have lost.
for (const [method, expected] of [
  ['gptq', 32],
  ['vertex', 33],
  ['msq', 33],
] as const)
  test(`issue 21: ${method} with data: groups that have become 0 are counted`, async (t) => {
    const folder = temporaryFolder(t);
    const name = 'model.layers.0.q_proj.weight';
    const [input, recorded] = [join(folder, 'in.safetensors'), join(folder, 'recorded.safetensors')];
    const rows = bytesOf(random(600 * shape[1], 3), 'F32');
    writeFileSync(recorded, fileOf({ [name]: { dtype: 'F32', shape: [600, shape[1]], data: rows } }));
    const own = { activations: recorded, format: 'gptq' as const, groupSize: 32, method };
    for (const [at, weights] of [small(1e-2), partlySmall()].entries()) {
      writeFileSync(input, fileOf({ [name]: { dtype: 'F32', shape, data: bytesOf(weights, 'F32') } }));
      const { layers } = await quantizeCheckpoint(input, join(folder, `${at}.safetensors`), own);
      const warnings = zeroed(layers[0]!).map((text) => text.slice(0, 31));
      t.deepEqual(warnings, at === 0 ? [] : [`${expected} of 128 groups of 32 weights `]);
    }
  });
