import test from 'ava';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../lib/errors';
import type { EvaluateOptions, Evaluation } from '../../lib/evaluate/types';
import type { JobOptions } from '../../lib/types';
import { temporaryFolder } from '../files/temporary-folder';
import { sampleCheckpointEvaluation } from '../reports/checkpoint-samples';
import { sampleEvaluation } from '../reports/samples';
import { runFake } from './fake';
import { typescript } from '../typescript';

const base = ['eval', 'in.onnx', 'out.onnx', '--data', 'a.npz'];

async function optionsFor(...flags: string[]): Promise<Partial<EvaluateOptions>> {
  const { code, stderr, calls } = await runFake([...base, ...flags]);
  if (code !== 0) throw new Error(stderr);
  return withoutHooks(calls[0]!.evaluated!);
}

function withoutHooks<Options extends JobOptions>({
  signal: _signal,
  onProgress: _onProgress,
  ...options
}: Options) {
  return options;
}

test('flags become the options of evaluateModel', async (t) => {
  const data = 'a.npz';
  t.deepEqual(await optionsFor(), { data });
  t.deepEqual(await optionsFor('--data', 'b.npz'), { data: ['a.npz', 'b.npz'] });
  t.deepEqual(
    await optionsFor(
      ...['--runs', '0', '--accuracy-level', '1', '--threads', '2', '--batch-size', '8', '--json', '-q'],
      ...['--tokenizer', 't.json', '--max-length', '64', '--text-field', 'body'],
    ),
    { data, runs: 0, accuracyLevel: 1, threads: 2, batchSize: 8, tokenizer: 't.json', maxLength: 64, textField: 'body' }, // prettier-ignore
  );
  t.deepEqual(
    await optionsFor(
      ...['--image-size', '48x320', '--image-mean', '.5', '--image-std', '.5,.25,1', '--image-order', 'bgr'],
      ...['--image-fit', 'fill'],
    ),
    { data, image: { size: [48, 320], mean: [0.5], std: [0.5, 0.25, 1], order: 'bgr', fit: 'fill' } },
  );
  t.deepEqual((await optionsFor('--image-size', '224')).image, { size: [224, 224] });
  const { calls } = await runFake(base);
  t.like(calls[0], { input: 'in.onnx', output: 'out.onnx' });
});

test('a table on stderr, JSON on stdout', async (t) => {
  const { code, stdout, stderr } = await runFake([...base, '--json']);
  t.is(code, 0);
  t.deepEqual(JSON.parse(stdout), sampleEvaluation());
  t.regex(stderr, /^output +type +rows +cosine[^]*\nlatency: /);
  const quiet = await runFake([...base, '--quiet']);
  t.deepEqual([quiet.stdout, quiet.stderr], ['', '']);
  const bar = await runFake(base, {
    terminal: true,
    evaluateModel: (_float, _quantized, { onProgress }) => {
      onProgress!({ stage: 'evaluate', done: 0, total: 2 });
      return Promise.resolve(sampleEvaluation());
    },
  });
  t.regex(bar.stderr, / 0 % .*running both networks/);
});

test('checkpoints: flags, several side by side, the table, progress', async (t) => {
  const args = ['eval', 'a.safetensors', 'b.safetensors', 'c.safetensors', '--data', 'a.txt'];
  const { code, stdout, stderr, calls } = await runFake([
    ...args,
    ...['--tokenizer', 't.json', '--sequence-length', '64', '--samples', '9', '--text-field', 'body'],
    ...['--memory', '1G', '--threads', '2', '--json'],
  ]);
  t.is(code, 0, stderr);
  t.deepEqual(withoutHooks(calls[0]!.judged!), { data: 'a.txt', tokenizer: 't.json', sequenceLength: 64, samples: 9, textField: 'body', memory: 2 ** 30, threads: 2 }); // prettier-ignore
  t.like(calls[0], { input: 'a.safetensors', output: 'b.safetensors,c.safetensors' });
  t.deepEqual(JSON.parse(stdout), sampleCheckpointEvaluation({ float: 'a.safetensors' }));
  t.regex(stderr, /^checkpoint +size +perplexity/);
  const bar = await runFake(args, {
    terminal: true,
    evaluateCheckpoint: (_float, _quantized, { onProgress }) => {
      onProgress!({ stage: 'judge', done: 3, total: 4 });
      return Promise.resolve(sampleCheckpointEvaluation());
    },
  });
  t.regex(bar.stderr, / 75 % .*running the networks/);
});

test('networks of two kinds, and flags of the other kind', async (t) => {
  for (const [args, code, message] of [
    [['in.onnx', 'b.safetensors'], 3, /in\.onnx is an ONNX model, and b\.safetensors a checkpoint/],
    [['a.safetensors', 'out.onnx'], 3, /a\.safetensors is a checkpoint, and out\.onnx an ONNX model/],
    [['in.onnx', 'out.onnx', 'out2.onnx'], 2, /give one ONNX file beside in\.onnx, not 2/],
    [['in.onnx', 'out.onnx', '--memory', '1G'], 2, /--memory is for checkpoints/],
    [['a.safetensors', 'b.safetensors', '--runs', '2'], 2, /--runs is for ONNX models/],
  ] as const) {
    const outcome = await runFake(['eval', ...args, '--data', 'a.txt']);
    t.is(outcome.code, code, args.join(' '));
    t.regex(outcome.stderr, message);
    t.deepEqual(outcome.calls, []);
  }
});

test('wrong usage, errors, interrupts: exit codes', async (t) => {
  for (const [args, message] of [
    [['eval', 'in.onnx'], /required option '--data <file\.\.\.>' not specified/],
    [['eval', 'in.onnx', '--data', 'a.npz'], /missing required argument 'quantized'/],
    [[...base, '--runs', 'many'], /'many' is invalid\. Expected a whole number/],
    [[...base, '--image-size', '3x4x5'], /Expected a height and a width, such as 224x224/],
    [[...base, '--image-mean', '1;2'], /Expected numbers with commas between them/],
    [[...base, '--image-order', 'gbr'], /Allowed choices are rgb, bgr/],
    [[...base, '--calibration', 'x.npz'], /unknown option '--calibration'/],
  ] as const) {
    const { code, stdout, stderr, calls } = await runFake(args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, message);
    t.regex(stderr, /^vertexq: [^\n]*\n$/);
    t.is(stdout, '');
    t.deepEqual(calls, []);
  }
  const failing = await runFake(base, {
    evaluateModel: () => Promise.reject(new VertexqError('ERR_VERTEXQ_RUNTIME', 'cannot run')),
  });
  t.like(failing, {
    code: 1,
    stdout: '',
    stderr:
      'vertexq: cannot run [ERR_VERTEXQ_RUNTIME]\n"vertexq explain ERR_VERTEXQ_RUNTIME" says what to do\n',
  });
  const controller = new AbortController();
  const aborted = await runFake(base, {
    signal: controller.signal,
    evaluateModel: () => {
      controller.abort();
      return Promise.reject(controller.signal.reason as Error);
    },
  });
  t.is(aborted.code, 130);
});

test('the program evaluates a network on JSON lines', (t) => {
  const data = join(temporaryFolder(t), 'data.jsonl');
  const lines = Array.from({ length: 5 }, (_, i) => JSON.stringify({ image: new Array(784).fill(i / 5) }));
  writeFileSync(data, lines.join('\n'));
  const network = join('test', 'fixtures', 'mnist-mlp.onnx');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      typescript,
      join('lib', 'cli', 'main.ts'),
      'eval',
      network,
      network,
      '--data',
      data,
      '--json',
      '--runs',
      '2',
    ],
    { cwd: join(__dirname, '..', '..'), encoding: 'utf8' },
  );
  t.is(status, 0, stderr);
  t.regex(stderr, /^output .*\nlogits +float32 +5 +1\.00000 +0 % +– +0\.00 +100\.00 %\n\n5 samples/);
  const { outputs, latency, samples } = JSON.parse(stdout) as Evaluation;
  t.like(outputs[0], { name: 'logits', error: 0, agreement: 1 });
  t.deepEqual([samples, latency!.samples, latency!.runs], [5, 5, 2]);
});
