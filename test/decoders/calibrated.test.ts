import test, { type ExecutionContext } from 'ava';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  planCheckpoint,
  type Progress,
  quantizeCheckpoint,
  verifyCheckpoint,
} from '../../lib/index';
import { checkpointSummary } from '../../lib/reports/checkpoint-table';
import { readAll } from '../checkpoints/unpack';
import { planTable } from '../../lib/reports/plan-table';
import { temporaryFolder } from '../files/temporary-folder';
import { inFolder, run } from './run';
import { cases, fusedExperts, type Golden, type Weights, weightsIn, writeModel } from './tiny';

const goldenOf = (name: string) => cases.find((golden) => golden.name === name)!;

/** Tokens that look like none in particular; of other `seed`s others. */
function tokens(count: number, length: number, seed = 1): number[][] {
  let state = seed;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16;
  return Array.from({ length: count }, () => Array.from({ length }, () => next() % 40));
}

const fed = (ids: number[][]) => ({
  input_ids: {
    data: BigInt64Array.from(ids.flat(), BigInt),
    dims: [ids.length, ids[0]!.length],
    type: 'int64',
  },
});
const calibration = fed(tokens(48, 14));
const more = fed(tokens(96, 14));
const judged = tokens(16, 12, 99);

function folderOf(t: ExecutionContext, golden: Golden): string {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  return folder;
}

const tensorsOf = async (folder: string) => Object.fromEntries((await readAll(folder)).tensors);

const contents = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder).map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );

/** How far the next tokens' distributions are from the float network's: the mean KL divergence. */
async function divergence(folder: string, quantized: string): Promise<number> {
  const [float, other] = [
    await inFolder(folder, 12, run(judged)),
    await inFolder(quantized, 12, run(judged)),
  ];
  let sum = 0;
  for (let at = 0; at < float.length; at += 40) {
    const [p, q] = [logShares(float.subarray(at, at + 40)), logShares(other.subarray(at, at + 40))];
    sum += p.reduce((part, value, i) => part + Math.exp(value) * (value - q[i]!), 0);
  }
  return (sum * 40) / float.length;
}

function logShares(logits: Float32Array): number[] {
  const most = Math.max(...logits);
  const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return [...logits].map((value) => value - most - total);
}

for (const name of ['llama', 'gemma3', 'phi3', 'olmo2', 'gpt2', 'mixtral', 'qwen3, biases, yarn'])
  test(`fitted to its own network, ${name} is nearer to the float one on other tokens`, async (t) => {
    const folder = folderOf(t, goldenOf(name));
    const of = async (options: CheckpointOptions) => {
      const output = join(temporaryFolder(t), 'out');
      const report = await quantizeCheckpoint(folder, output, {
        bits: 3,
        groupSize: 16,
        format: 'float',
        ...options,
      });
      return { report, far: await divergence(folder, output) };
    };
    const [rounded, own, corrected] = [
      await of({}),
      await of({ calibration: more, errorCorrection: false }),
      await of({ calibration: more }),
    ];
    t.log(rounded.far, own.far, corrected.far);
    t.true(own.far < 0.8 * rounded.far);
    t.true(corrected.far < 0.8 * rounded.far);
    const layers = corrected.report.layers;
    t.true(layers.every(({ method, fellBackFrom }) => [method, fellBackFrom].includes('vertex')));
    t.true(layers.every(({ error }) => error.holdout !== null));
    // Of an expert's tokens nobody knows which the float network would have sent there.
    for (const layer of layers)
      if (layer.name.includes('experts')) t.false(layer.errorCorrection, layer.name);
    t.true(layers.at(-1)!.errorCorrection || name === 'mixtral');
  });

test('experts that see few tokens are fitted to all, and it is said how many each saw', async (t) => {
  const folder = folderOf(t, goldenOf('qwen3 of experts'));
  const of = async (ids: number[][]) => {
    const output = join(temporaryFolder(t), 'out');
    const options = { bits: 3, groupSize: 8, method: 'gptq', format: 'float', holdout: fed(judged) } as const;
    const report = await quantizeCheckpoint(folder, output, { ...options, calibration: fed(ids) });
    return { report, experts: report.layers.filter(({ name }) => name.includes('experts')), output };
  };
  // Six experts, two of which a token goes to.
  const { report, experts, output } = await of(tokens(2, 20));
  t.true(report.layers.every(({ name, expert }) => name.includes('experts') === (expert !== undefined)));
  for (const block of [0, 2]) {
    const gates = experts.filter(
      ({ name }) => name.includes(`layers.${block}.`) && name.endsWith('gate_proj'),
    );
    t.is(gates.length, 6);
    t.is(
      gates.reduce((sum, { expert }) => sum + expert!.rows, 0),
      2 * 40,
    );
  }
  for (const { expert, samples, shape, errorCorrection, error } of experts) {
    t.is(expert!.fittedTo, expert!.rows < shape[1] ? 'all' : 'own');
    t.is(samples, expert!.fittedTo === 'all' ? 40 : expert!.rows);
    // All tokens are the same ones in both networks.
    t.is(errorCorrection, expert!.fittedTo === 'all');
    t.true(error.holdout! < 1);
  }
  t.true(new Set(experts.map(({ expert }) => expert!.fittedTo)).has('all'));
  t.regex(
    checkpointSummary(report, { color: false }),
    /36 weights of experts saw \d+ tokens at the least, \d+ in the median; \d+ saw fewer/,
  );
  t.true((await divergence(folder, output)) < 1);
  const none = (await of([[7]])).experts;
  t.true(none.some(({ expert }) => expert!.rows === 0));
  t.true(none.every(({ expert, samples }) => expert!.fittedTo === 'all' && samples === 1));
});

for (const [name, format] of [
  ['mixtral', 'compressed-tensors'],
  ['qwen3 of experts', 'float'],
] as const)
  test(`experts in one tensor are fitted as each by itself is: ${name}, ${format}`, async (t) => {
    const { config, ...golden } = goldenOf(name);
    const weights = weightsIn({ ...golden, config });
    const of = async (own: Weights) => {
      const folder = join(temporaryFolder(t), 'model');
      mkdirSync(folder);
      writeModel(folder, config, own, 'BF16');
      const output = join(temporaryFolder(t), 'out');
      const options = { bits: 3, groupSize: 8, method: 'gptq', format, calibration } as const;
      const { layers } = await quantizeCheckpoint(folder, output, options);
      t.deepEqual((await verifyCheckpoint(output, folder)).faults, []);
      return {
        output,
        fitted: layers.map(({ name: layer, samples, error }) => [layer, samples, error.holdout]).sort(),
      };
    };
    const [one, fused] = [await of(weights), await of(fusedExperts(weights))];
    t.deepEqual(fused.fitted, one.fitted);
    if (format === 'compressed-tensors')
      t.deepEqual(await tensorsOf(fused.output), await tensorsOf(one.output));
    else
      t.deepEqual(await inFolder(fused.output, 12, run(judged)), await inFolder(one.output, 12, run(judged)));
  });

test('the same bytes whatever threads and memory, and after an interruption anywhere', async (t) => {
  const folder = folderOf(t, goldenOf('qwen3'));
  const interruptions = { 'compressed-tensors': [0, 0.3, 0.7, 0.98], gptq_v2: [0.5], float: [0.6] } as const;
  for (const format of ['compressed-tensors', 'gptq_v2', 'float'] as const) {
    const options: CheckpointOptions = { bits: 2, groupSize: 8, method: 'gptq', format, calibration };
    const whole = join(temporaryFolder(t), 'out');
    let steps = 0;
    await quantizeCheckpoint(folder, whole, {
      ...options,
      onProgress: ({ stage }) => void (steps += Number(stage === 'capture')),
    });
    const expected = contents(whole);
    const other = join(temporaryFolder(t), 'out');
    await quantizeCheckpoint(folder, other, { ...options, threads: 1, memory: 2 ** 27 });
    t.deepEqual(contents(other), expected);
    for (const part of interruptions[format]) {
      const after = 1 + Math.floor(part * (steps - 1));
      const output = join(temporaryFolder(t), 'out');
      const controller = new AbortController();
      let count = 0;
      // How often a fit tells of itself depends on the time it takes.
      const onProgress = ({ stage }: Progress) =>
        void (stage === 'capture' && ++count === after && controller.abort(new Error('stop')));
      const { signal } = controller;
      const stopped = quantizeCheckpoint(folder, output, { ...options, onProgress, signal });
      await t.throwsAsync(stopped, { message: 'stop' });
      const report = await quantizeCheckpoint(folder, output, { ...options, resume: true });
      if (part > 0) t.true(report.resumed > 0, String(after));
      t.deepEqual(contents(output), expected);
    }
  }
});

test('as many texts are run together as have room for what a block makes of them', async (t) => {
  const folder = folderOf(t, goldenOf('llama'));
  const batchesOf = async (texts: number[][]) => {
    let batches = 0;
    const controller = new AbortController();
    const onProgress = ({ stage, total }: Progress) => {
      if (stage !== 'capture') return;
      batches = total;
      controller.abort(new Error('seen'));
    };
    const options = { calibration: fed(texts), holdout: 0, onProgress, signal: controller.signal };
    const output = join(temporaryFolder(t), 'out');
    await t.throwsAsync(quantizeCheckpoint(folder, output, options), { message: 'seen' });
    return batches;
  };
  t.is(await batchesOf(tokens(12, 14)), 1);
  // Four heads: scores, thrice, take 50 MB for each of them.
  t.is(await batchesOf(tokens(12, 1024)), 6);
});

test('a dry run says how many layers and tokens, how long and with how much memory, and runs nothing', async (t) => {
  const folder = folderOf(t, goldenOf('llama'));
  const output = join(temporaryFolder(t), 'out');
  const options: CheckpointOptions = {
    bits: 3,
    groupSize: 16,
    calibration,
    overrides: [{ layers: '*q_proj*', method: 'msq' }],
  };
  const plan = await planCheckpoint(folder, output, options);
  t.deepEqual(readdirSync(join(output, '..')), []);
  t.is(plan.tokens, 48 * 14);
  t.true(plan.seconds! > 0 && plan.memory > 0);
  const report = await quantizeCheckpoint(folder, output, options);
  const rounded = report.layers.filter(({ name }) => name.includes('q_proj')).length;
  t.is(plan.fitted, report.layers.length - rounded);
  const methods = (list: { name: string; method: string | null }[]) =>
    list.map(({ name, method }) => `${name.replace(/\.weight$/, '')} ${method}`).sort();
  t.deepEqual(
    methods(plan.tensors.filter(({ action }) => action === 'quantize')),
    methods(
      report.layers.map(({ name, method, fellBackFrom }) => ({ name, method: fellBackFrom ?? method })),
    ),
  );
  t.regex(
    planTable(plan, { color: false }),
    /\n\d+ weights fitted to 672 tokens, [1-9] rounded\nabout (\d+ min )?\S+ m?s, \S+ MB of memory; nothing was written/,
  );
});

test('what cannot be run is refused before any work', async (t) => {
  const folder = folderOf(t, goldenOf('llama'));
  const refused = async (
    options: CheckpointOptions,
    code: string | undefined,
    message: RegExp,
    input = folder,
  ) => {
    const output = join(temporaryFolder(t), 'out');
    const error = await t.throwsAsync(quantizeCheckpoint(input, output, { calibration, ...options }), {
      message,
    });
    t.is((error as { code?: string }).code, code);
    t.deepEqual(readdirSync(join(output, '..')), []);
  };
  await refused(
    { activations: 'x.safetensors' },
    undefined,
    /"calibration" and "activations" exclude each other/,
  );
  await refused(
    { method: 'maly-saab', errorCorrection: true },
    undefined,
    /"errorCorrection" option belongs to/,
  );
  await refused(
    { calibration: fed([[3, 40, 1]]) },
    'ERR_VERTEXQ_CALIBRATION',
    /has the token 40, and the vocabulary .* 0 to 39/,
  );
  await refused({}, 'ERR_VERTEXQ_DECODER', /has no config\.json|config\.json/, await bare(t));
  const config = { ...goldenOf('llama').config, architectures: ['RwkvForCausalLM'] };
  const unknown = join(temporaryFolder(t), 'model');
  mkdirSync(unknown);
  writeModel(unknown, config, weightsIn(goldenOf('llama')));
  await refused({}, 'ERR_VERTEXQ_DECODER', /the architecture "RwkvForCausalLM" is not known/, unknown);
  const output = join(temporaryFolder(t), 'out');
  // Plain rounding needs no network.
  const { warnings, layers } = await quantizeCheckpoint(unknown, output, { calibration, method: 'msq' });
  t.regex(warnings.join('\n'), /"calibration" data has no effect: the method "msq"/);
  t.true(layers.every(({ method }) => method === 'msq'));
  for (const name of ['tokenizer', 'maxLength', 'errorCorrection', 'holdout'] as const) {
    const value = { tokenizer: 'tokenizer.json', maxLength: 8, errorCorrection: true, holdout: 0.2 }[name];
    await t.throwsAsync(quantizeCheckpoint(folder, output, { [name]: value }), {
      instanceOf: RangeError,
      message: /"calibration"/,
    });
  }
});

/** A model without its config. */
async function bare(t: ExecutionContext): Promise<string> {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, {}, weightsIn(goldenOf('llama')));
  writeFileSync(join(folder, 'config.json'), '{}');
  return Promise.resolve(folder);
}
