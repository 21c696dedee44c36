import test from 'ava';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectModel, planCheckpoint, quantizeCheckpoint, quantizeModel } from '../../lib';
import { checkpointSummary } from '../../lib/reports/checkpoint-table';
import { planTable } from '../../lib/reports/plan-table';
import { layerSummary } from '../../lib/reports/table';
import { fileOf, tensor } from '../checkpoints/make';
import { temporaryFolder } from '../files/temporary-folder';

const plain = { color: false };
const cells = (text: string) => text.split('\n').map((line) => line.replace(/ {2,}/g, '  '));

test('what is left of a checkpoint: every tensor of floats, by whose choice, in the plan as in the report', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  const tensors = {
    'model.embed_tokens.weight': tensor('F32', [64, 32], 1),
    'layers.0.q_proj.weight': tensor('F32', [32, 32], 2),
    'layers.0.q_proj.bias': tensor('F32', [32], 3),
    'layers.0.experts.gate_up_proj': tensor('F32', [8, 32, 64], 4),
    'layers.0.norm.weight': tensor('F32', [32], 5),
  };
  writeFileSync(input, fileOf(tensors));
  const { skipped } = await planCheckpoint(input, output);
  t.deepEqual(
    skipped.map(({ name, bytes, choice }) => [name, bytes, choice]),
    [
      ['model.embed_tokens.weight', 8192, true],
      ['layers.0.q_proj.bias', 128, true],
      ['layers.0.experts.gate_up_proj', 65_536, false],
      ['layers.0.norm.weight', 128, true],
    ],
  );
  const report = await quantizeCheckpoint(input, output);
  t.deepEqual(report.skipped, skipped);
  for (const text of [
    checkpointSummary(report, plain),
    planTable(await planCheckpoint(input, output), plain),
  ]) {
    const lines = cells(text);
    t.regex(
      lines[0]!,
      /^1 weight.*: file 78\.\d kB → 7\d\.\d kB \(1\.0×\); 83\.\d % of it, 65\.5 kB, could not be quantized; weights 4\.10 kB → /,
    );
    t.true(lines.includes('left by choice: an embedding  1  8.19 kB  8.19 kB  1.0×'));
    t.true(
      lines.some((line) => /^could not be quantized: .* {2}1 {2}65\.5 kB {2}65\.5 kB {2}1\.0×$/.test(line)),
    );
    t.true(lines.some((line) => /gate_up_proj$/.test(line)));
  }
  const skip = await planCheckpoint(input, output, {
    ...{ format: 'float', layers: ['*q_proj', '*embed*'], skip: ['*q_proj'] },
  });
  const reasons = new Map(skip.skipped.map(({ name, reason }) => [name, reason]));
  t.is(reasons.get('layers.0.q_proj.weight'), 'skipped');
});

test('what is left of a network: layers that were skipped, and operators that are not asked for', async (t) => {
  const output = join(temporaryFolder(t), 'out.onnx');
  const input = join(__dirname, '..', 'fixtures', 'mnist-cnn.onnx');
  const { layers } = await inspectModel(input);
  const products = layers.filter(({ kind }) => kind !== 'Conv');
  t.true(products.length >= 2 && products.length < layers.length);
  const [first] = products;
  const report = await quantizeModel(input, output, {
    ...{ method: 'msq', operators: ['MatMul', 'Gemm'], skip: [first!.name] },
  });
  const left = report.skipped.map(({ name, reason, bytes, choice }) => ({ name, reason, bytes, choice }));
  for (const { name, kind, bytes } of layers) {
    if (report.layers.some((layer) => layer.name === name)) continue;
    const reason = kind === 'Conv' ? 'Conv, not among "operators"' : 'skipped';
    t.true(
      left.some((one) => one.name === name && one.reason === reason && one.bytes === bytes && one.choice),
      name,
    );
  }
  const lines = cells(layerSummary(report, plain));
  t.true(lines.some((line) => line.startsWith('left by choice: skipped  1  ')));
  t.is(report.bytes.before, statSync(input).size);
  const chosen = await quantizeModel(input, output, { method: 'msq', layers: [first!.name] });
  t.is(chosen.skipped.filter(({ reason }) => reason === 'not among "layers"').length, layers.length - 1);
});
