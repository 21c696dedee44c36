import test, { type ExecutionContext } from 'ava';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint, type Progress, quantizeCheckpoint } from '../../lib/index';
import { loadSession } from '../../lib/models/runtime';
import { emptyCache, logitsInPieces } from '../decoders/generate';
import { inFolder, run } from '../decoders/run';
import { cases, fusedExperts, type Golden, weightsIn, writeModel } from '../decoders/tiny';
import { temporaryFolder } from '../files/temporary-folder';

const goldenOf = (name: string) => cases.find((golden) => golden.name === name)!;

function folderOf(t: ExecutionContext, { config, ...golden }: Golden): string {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, config, weightsIn({ config, ...golden }));
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
  return folder;
}

/** Some texts as tokens. */
const calibration = {
  input_ids: {
    data: BigInt64Array.from({ length: 24 * 12 }, (_, i) => BigInt((i * i * 7 + i * 3) % 40)),
    dims: [24, 12],
    type: 'int64',
  },
};

const common = { bits: 4, groupSize: 16, grid: 'asymmetric' } as const;
const ways: Record<string, CheckpointOptions> = {
  rounded: common,
  fitted: { ...common, calibration, effort: 0, threads: 2 },
};

const models: Golden[] = ['llama', 'gemma2', 'phi3', 'gpt2', 'smollm3, windows, biases'].map(goldenOf);
const experts = goldenOf('mixtral');
const fused = Object.entries(fusedExperts(weightsIn(experts)));
const inOne = { ...experts, name: 'mixtral, experts in one tensor' };
inOne.tensors = Object.fromEntries(fused.map(([name, { shape }]) => [name, shape]));

for (const golden of [...models, experts, inOne])
  for (const [way, options] of Object.entries(ways))
    test.serial(
      `the network that is written computes what the quantized weights stand for: ${golden.name}, ${way}`,
      async (t) => {
        const { ids, config } = golden;
        const folder = folderOf(t, golden);
        const [output, float] = [`${folder}-onnx`, `${folder}-float`];
        const report = await quantizeCheckpoint(folder, output, { ...options, format: 'onnx' });
        const plain = await quantizeCheckpoint(folder, float, { ...options, format: 'float' });
        const told = ({ name, method, bits, groupSize }: (typeof report.layers)[number]) => ({
          ...{ name, method, bits, groupSize },
        });
        const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
        t.deepEqual(report.layers.map(told).sort(byName), plain.layers.map(told).sort(byName));
        t.deepEqual(readdirSync(output).sort(), [
          'config.json',
          'onnx',
          'tokenizer.json',
          'vertexq.manifest.json',
        ]);
        t.deepEqual(readdirSync(join(output, 'onnx')), ['model_q4.onnx']);
        t.true(report.bytes.after >= readFileSync(join(output, 'onnx', 'model_q4.onnx')).length);

        const expected = await inFolder(float, ids[0]!.length, async (decoder) => ({
          logits: await run(ids)(decoder),
          sizes: [ids.length, decoder.shape.keyValueHeads, decoder.shape.headSize] as const,
        }));
        const range = Math.max(...expected.logits) - Math.min(...expected.logits);
        const session = await loadSession(join(output, 'onnx', 'model_q4.onnx'), 'the network');
        const length = ids[0]!.length;
        for (const pieces of [[length], [length - 3, 1, 1, 1]]) {
          const texts = { ids, padding: ids.map(() => 0) };
          const logits = await logitsInPieces(session, texts, pieces, emptyCache(config, expected.sizes));
          const worst = logits
            .flat()
            .flatMap((row) => [...row])
            .reduce((most, value, i) => Math.max(most, Math.abs(value - expected.logits[i]!)), 0);
          t.true(worst <= 1e-3 * range, `${String(pieces)}: off by ${worst} of ${range}`);
        }
        await session.release();
      },
    );

test.serial(
  'config.json tells transformers.js the type of the weights, and keeps what it told before',
  async (t) => {
    const golden = goldenOf('llama');
    const folder = folderOf(t, {
      ...golden,
      config: { ...golden.config, 'transformers.js_config': { kv_cache_dtype: 'float32' } },
    });
    for (const [bits, dtype, file] of [
      [2, 'q2', 'model_q2.onnx'],
      [3, 'q4', 'model_q4.onnx'],
      [8, 'q8', 'model_quantized.onnx'],
    ] as const) {
      const output = `${folder}-${bits}`;
      const plan = await planCheckpoint(folder, output, { format: 'onnx', bits, groupSize: 16 });
      t.deepEqual(
        plan.files,
        [join('onnx', file), 'tokenizer.json', 'config.json'].map((name) => join(output, name)),
      );
      const report = await quantizeCheckpoint(folder, output, { format: 'onnx', bits, groupSize: 16 });
      t.is(plan.bytes.weightsAfter, report.bytes.weightsAfter);
      for (const path of plan.files) t.true(existsSync(path), path);
      const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as Record<string, unknown>;
      t.deepEqual(config, {
        ...golden.config,
        'transformers.js_config': {
          kv_cache_dtype: 'float32',
          dtype,
          use_external_data_format: { [file]: 0 },
        },
      });
    }
  },
);

test('an interrupted run goes on behind the last layer that was fitted, and writes the same bytes', async (t) => {
  const folder = folderOf(t, goldenOf('llama'));
  const options: CheckpointOptions = { ...common, calibration, method: 'gptq', format: 'onnx' };
  const network = (output: string) => readFileSync(join(output, 'onnx', 'model_q4.onnx'));
  const whole = join(temporaryFolder(t), 'out');
  let steps = 0;
  const onProgress = ({ stage }: Progress) => void (steps += Number(stage === 'capture'));
  await quantizeCheckpoint(folder, whole, { ...options, onProgress });
  for (const part of [0.4, 0.9]) {
    const output = join(temporaryFolder(t), 'out');
    const controller = new AbortController();
    let left = 1 + Math.floor(part * (steps - 1));
    const stopped = quantizeCheckpoint(folder, output, {
      ...options,
      onProgress: ({ stage }) =>
        void (stage === 'capture' && --left === 0 && controller.abort(new Error('stop'))),
      signal: controller.signal,
    });
    await t.throwsAsync(stopped, { message: 'stop' });
    t.false(existsSync(join(output, 'onnx', 'model_q4.onnx')));
    const { resumed } = await quantizeCheckpoint(folder, output, { ...options, resume: true });
    t.true(resumed > 0, String(part));
    t.deepEqual(network(output), network(whole));
  }
});

test('refused before anything is written: no folder, another network, recorded inputs, groups that are no blocks', async (t) => {
  const golden = goldenOf('llama');
  const folder = folderOf(t, golden);
  const output = `${folder}-out`;
  const file = join(folder, 'model.safetensors');
  await t.throwsAsync(quantizeCheckpoint(file, `${output}.safetensors`, { format: 'onnx' }), {
    code: 'ERR_VERTEXQ_DECODER',
    message: /the format "onnx" .* give the folder/,
  });
  await t.throwsAsync(quantizeCheckpoint(folder, output, { format: 'onnx', groupSize: 24 }), {
    message: /24/,
  });
  await t.throwsAsync(quantizeCheckpoint(folder, output, { format: 'onnx', activations: file }), {
    instanceOf: RangeError,
    message: /"activations".*"onnx"/,
  });
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ ...golden.config, architectures: ['BloomForCausalLM'] }),
  );
  const error = await t.throwsAsync(quantizeCheckpoint(folder, output, { format: 'onnx' }), {
    code: 'ERR_VERTEXQ_DECODER',
    message: /"BloomForCausalLM" is not known\..*the other formats with the method "msq" need none$/,
  });
  t.notRegex(error.message, /--method msq/);
  t.false(existsSync(output));
});
