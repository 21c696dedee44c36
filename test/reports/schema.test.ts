import Ajv, { type ValidateFunction } from 'ajv';
import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { node, tensor } from '../../lib/containers/onnx/make';
import { type SchemaName, schemaText } from '../../scripts/schema';
import type { Schema } from '../../scripts/schema/of-type';
import { schemaOf } from '../../scripts/schema/of-type';
import { smallModel, writeSmall } from '../checkpoints/gguf/models';
import { bytesOf, fileOf } from '../checkpoints/make';
import { runWhole } from '../cli/library';
import { temporaryFolder } from '../files/temporary-folder';
import { files, float, network, random } from '../models/networks';

// What the command line writes, held to the schema that is published; here without any property that it does not know.

const publishedAs = (name: SchemaName) => readFileSync(join(__dirname, '../../docs', name), 'utf8');
const published = publishedAs('report.schema.json');

for (const name of ['report.schema.json', 'plan.schema.json'] as const)
  test(`docs/${name} is what the types say: else run npm run docs:schema`, async (t) => {
    t.is(await schemaText(name), publishedAs(name));
  });

/** A published schema that takes nothing besides. */
const strictly = (text: string) =>
  JSON.parse(text, (_, value: Schema) =>
    value?.properties ? { additionalProperties: false, ...value } : value,
  ) as object;

/** A validator of one kind of report. `strict`: of nothing besides. */
function validatorOf(kind: 'Report' | 'CheckpointReport' | 'Failure', strict = true): ValidateFunction {
  const schema = strict ? strictly(published) : (JSON.parse(published) as object);
  return new Ajv({ allErrors: true }).compile({
    ...schema,
    anyOf: [{ $ref: `#/definitions/${kind}` }],
  });
}

const hidden = 32;
const small = network({
  nodes: [
    node('MatMul', ['x', 'w0'], ['a'], { name: 'first' }),
    node('Relu', ['a'], ['b']),
    node('MatMul', ['b', 'w1'], ['y'], { name: 'second' }),
  ],
  constants: [0, 1].map((i) => tensor(`w${i}`, [hidden, hidden], random(hidden * hidden, i + 1))),
  inputs: [float('x', ['batch', hidden])],
  outputs: [float('y')],
});

test('networks: with data, without, and for a size', async (t) => {
  const validate = validatorOf('Report');
  const { input, output } = files(t, small);
  const data = join(temporaryFolder(t), 'data.safetensors');
  const rows = bytesOf(random(200 * hidden, 5), 'F32');
  writeFileSync(data, fileOf({ x: { dtype: 'F32', shape: [200, hidden], data: rows } }));
  for (const flags of [
    ['--method', 'msq'],
    ['--calibration', data, '--bits', '3'],
    ['--calibration', data, '--target-bits', '5', '--method', 'gptq'],
  ]) {
    const { code, stdout, stderr } = await runWhole([
      'quantize',
      input,
      '-o',
      output,
      '--json',
      '--overwrite',
      ...flags,
    ]);
    t.is(code, 0, stderr);
    const report = JSON.parse(stdout) as { schemaVersion: number; budget?: object };
    t.true(validate(report), JSON.stringify(validate.errors));
    t.is(report.schemaVersion, 1);
    t.is('budget' in report, flags.includes('--target-bits'));
    t.true(validatorOf('Report', false)({ ...report, later: 1 }));
    t.false(validate({ ...report, later: 1 }));
    t.false(validate({ ...report, layers: [{}] }));
    t.false(validate({ ...report, schemaVersion: 2 }));
    t.false(validate({ ...report, environment: undefined }));
  }
});

test('checkpoints and GGUF files', async (t) => {
  const validate = validatorOf('CheckpointReport');
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F32', smallModel('llama', { blocks: 1 }));
  for (const [i, flags] of [
    [],
    ['--format', 'gguf:q4_0'],
    ['--format', 'gptq', '--own-samples', '2', '--sequence-length', '16', '--group-size', '32'],
  ].entries()) {
    const output = `${folder}-${i}${flags[1]?.startsWith('gguf') ? '.gguf' : ''}`;
    const { code, stdout, stderr } = await runWhole(['quantize', folder, '-o', output, '--json', ...flags]);
    t.is(code, 0, stderr);
    const report = JSON.parse(stdout) as object;
    t.true(validate(report), JSON.stringify(validate.errors));
    t.false(validate({ ...report, copied: undefined }));
  }
});

test('plans', async (t) => {
  const validate = new Ajv({ allErrors: true }).compile(strictly(publishedAs('plan.schema.json')));
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F32', smallModel('llama', { blocks: 1 }));
  for (const flags of [
    [`${folder}-4bit`],
    [`${folder}.gguf`, '--format', 'gguf:q4_0', '--max-file-size', '50kB'],
  ]) {
    const { code, stdout, stderr } = await runWhole(['plan', folder, '-o', ...flags]);
    t.is(code, 0, stderr);
    const plan = JSON.parse(stdout) as object;
    t.true(validate(plan), JSON.stringify(validate.errors));
    for (const odd of [{ later: 1 }, { schemaVersion: 2 }, { units: [{}] }, { id: undefined }])
      t.false(validate(JSON.parse(JSON.stringify({ ...plan, ...odd }))), JSON.stringify(odd));
  }
});

test('failures', async (t) => {
  const validate = validatorOf('Failure');
  for (const args of [
    ['quantize', 'absent.onnx', '-o', 'out.onnx', '--json'],
    ['quantize', 'absent.onnx', '-o', 'out.onnx', '--json', '--bits', '4', '--levels', '3'],
  ]) {
    const { code, stdout } = await runWhole(args);
    t.not(code, 0);
    const failure = JSON.parse(stdout) as { error: { exitCode: number } };
    t.true(validate(failure), JSON.stringify(validate.errors));
    t.is(failure.error.exitCode, code);
    t.false(validate({ error: { code: null } }));
  }
});

test('types that JSON has not are refused', (t) => {
  const file = join(__dirname, '../../lib/types.ts');
  t.throws(() => schemaOf(file, 'QuantizedLayer'), {
    message: /QuantizedLayer\.codes: Int8Array is no type of JSON/,
  });
  t.throws(() => schemaOf(file, 'JobOptions'), { message: /is no type of JSON/ });
  t.throws(() => schemaOf(file, 'Absent'), { message: /exports no Absent/ });
});
