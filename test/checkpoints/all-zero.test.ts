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
