import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type CheckpointEvaluation,
  type CheckpointFormat,
  type CheckpointOptions,
  evaluateCheckpoint,
  evaluateLanguageModel,
  type EvaluateCheckpointOptions,
  quantizeCheckpoint,
} from '../../../lib/index';
import { readWindows } from '../../../lib/models/data/text';
import { fileOf } from '../../checkpoints/make';
import { readAll, floats, unpackCompressed, unpackGptq } from '../../checkpoints/unpack';
import { inFolder, run } from '../../decoders/run';
import {
  cases,
  fusedExperts,
  type Golden,
  type Weights,
  weightsIn,
  wide,
  writeModel,
} from '../../decoders/tiny';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson } from '../../models/data/tokenizer';
import { typescript } from '../../typescript';

const child = join(__dirname, '..', '..', 'models', 'children', 'peak-memory.ts');

const goldenOf = (name: string) => cases.find((golden) => golden.name === name)!;

/** Tokens that look like none in particular. */
function tokens(count: number, length: number, vocabulary = 40): number[][] {
  let state = 7;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16;
  return Array.from({ length: count }, () => Array.from({ length }, () => next() % vocabulary));
}

const fed = (ids: number[][]) => ({
  input_ids: {
    data: BigInt64Array.from(ids.flat(), BigInt),
    dims: [ids.length, ids[0]!.length],
    type: 'int64',
  },
});

function folderOf(t: ExecutionContext, { config }: Golden, weights: Weights, dtype?: 'F32' | 'BF16'): string {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, config, weights, dtype);
  return folder;
}

async function quantizedOf(t: ExecutionContext, folder: string, options: CheckpointOptions): Promise<string> {
  const output = join(temporaryFolder(t), 'out');
  await quantizeCheckpoint(folder, output, options);
  return output;
}

function logShares(logits: ArrayLike<number>): number[] {
  const list = Array.from(logits);
  const most = Math.max(...list);
  const total = Math.log(list.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return list.map((value) => value - most - total);
}

/** The measures, from all logits of both networks. */
function byHand(ids: number[][], float: Float32Array, quantized: Float32Array, vocabulary: number) {
  const places: { document: number; ce: [number, number]; kl: number; same: boolean }[] = [];
  for (const [document, row] of ids.entries())
    for (let i = 0; i + 1 < row.length; i++) {
      const at = (document * row.length + i) * vocabulary;
      const [p, q] = [float, quantized].map((all) => logShares(all.subarray(at, at + vocabulary))) as [
        number[],
        number[],
      ];
      places.push({
        document,
        ce: [-p[row[i + 1]!]!, -q[row[i + 1]!]!],
        kl: p.reduce((sum, log, k) => sum + Math.exp(log) * (log - q[k]!), 0),
        same: p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)),
      });
    }
  const mean = (of: (place: (typeof places)[number]) => number, own = places) =>
    own.reduce((sum, place) => sum + of(place), 0) / own.length;
  const means = (own: typeof places) => ({
    tokens: own.length,
    perplexity: {
      float: Math.exp(mean(({ ce }) => ce[0], own)),
      quantized: Math.exp(mean(({ ce }) => ce[1], own)),
    },
    klDivergence: mean(({ kl }) => kl, own),
    sameNextToken: mean(({ same }) => Number(same), own),
  });
  const sorted = places.map(({ kl }) => kl).sort((a, b) => a - b);
  return {
    ...means(places),
    klDivergence999: sorted[Math.ceil(0.999 * sorted.length) - 1]!,
    documents: ids.map((_, document) => means(places.filter((place) => place.document === document))),
  };
}

function isClose(t: ExecutionContext, a: number, b: number, what: string): void {
  t.true(Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b)), `${what}: ${a}, and ${b} by hand`);
}

function isAsByHand(
  t: ExecutionContext,
  { checkpoints: [own] }: CheckpointEvaluation,
  wanted: ReturnType<typeof byHand>,
  what: string,
): void {
  t.is(own!.tokens, wanted.tokens);
  isClose(t, own!.perplexity.float.mean, wanted.perplexity.float, `${what}: perplexity, float`);
  isClose(t, own!.perplexity.quantized.mean, wanted.perplexity.quantized, `${what}: perplexity`);
  isClose(t, own!.perplexityRatio.mean, wanted.perplexity.quantized / wanted.perplexity.float, what);
  isClose(t, own!.klDivergence.mean, wanted.klDivergence, `${what}: KL`);
  isClose(t, own!.klDivergence999, wanted.klDivergence999, `${what}: KL, 99.9 %`);
  isClose(t, own!.sameNextToken.mean, wanted.sameNextToken, `${what}: same`);
  t.is(own!.documents.length, wanted.documents.length);
  for (const [i, document] of own!.documents.entries()) {
    t.is(document.document, i);
    t.is(document.tokens, wanted.documents[i]!.tokens);
    isClose(t, document.perplexity.quantized, wanted.documents[i]!.perplexity.quantized, `${what}, ${i}`);
    isClose(t, document.klDivergence, wanted.documents[i]!.klDivergence, `${what}, ${i}`);
    isClose(t, document.sameNextToken, wanted.documents[i]!.sameNextToken, `${what}, ${i}`);
  }
}

const judged = tokens(9, 12);

/** A model like another, with weights of fewer values. */
function rounded(weights: Weights): Weights {
  const coarse = (values: Float32Array) => values.map((value) => Math.round(value * 6) / 6);
  return Object.fromEntries(
    Object.entries(weights).map(([name, { shape, values }]) => [
      name,
      { shape, values: shape.length > 1 ? coarse(values) : values },
    ]),
  );
}

test('measures are those of all logits by hand, of every kind of architecture', async (t) => {
  // With what the evaluation has to do: heads that are the embedding or not, scales, soft caps, learned positions, transposed weights, experts.
  for (const golden of ['llama', 'gemma2', 'phi3', 'granite', 'gpt2', 'mixtral'].map(goldenOf)) {
    const weights = weightsIn(golden);
    const folder = folderOf(t, golden, weights, 'BF16');
    const quantized = folderOf(t, golden, rounded(weights), 'F32');
    const [a, b] = [await inFolder(folder, 12, run(judged)), await inFolder(quantized, 12, run(judged))];
    const evaluation = await evaluateCheckpoint(folder, quantized, { data: fed(judged) });
    isAsByHand(t, evaluation, byHand(judged, a, b, a.length / judged.flat().length), golden.name);
    const [own] = evaluation.checkpoints;
    t.true(own!.klDivergence.mean > 0 && own!.klDivergence.standardError! > 0, golden.name);
    t.deepEqual(evaluation.data, { documents: 9, windows: 9, longest: 12 });
  }
});

test('a checkpoint beside itself: no divergence at all, and the same next tokens', async (t) => {
  for (const name of ['llama', 'gemma2']) {
    const folder = folderOf(t, goldenOf(name), weightsIn(goldenOf(name)));
    const { checkpoints, bytes } = await evaluateCheckpoint(folder, folder, { data: fed(judged) });
    const [own] = checkpoints;
    t.deepEqual(own!.klDivergence, { mean: 0, standardError: 0 });
    t.is(own!.klDivergence999, 0);
    t.deepEqual(own!.sameNextToken, { mean: 1, standardError: 0 });
    t.deepEqual(own!.perplexityRatio, { mean: 1, standardError: 0 });
    t.is(own!.bytes, bytes);
  }
});

test('the same numbers whatever threads, memory and others beside', async (t) => {
  const golden = goldenOf('gemma3');
  const folder = folderOf(t, golden, weightsIn(golden));
  const other = folderOf(t, golden, rounded(weightsIn(golden)));
  // Four runs of each part of the networks.
  const data = fed(tokens(48, 40));
  const evaluate = async (options: Partial<EvaluateCheckpointOptions>, list: string | string[] = other) => {
    const { checkpoints } = await evaluateCheckpoint(folder, list, { data, ...options });
    return checkpoints.at(-1)!;
  };
  const { warnings, checkpoints } = await evaluateCheckpoint(folder, other, { data });
  const [wanted] = checkpoints;
  t.deepEqual(await evaluate({ threads: 1, memory: 0 }), wanted);
  t.deepEqual(await evaluate({}, [folder, other]), wanted);
  const { tokens: count, perplexity, klDivergence, klDivergence999, sameNextToken } = wanted!;
  t.deepEqual(await evaluateLanguageModel(folder, other, { data }), {
    tokens: count,
    perplexity: { float: perplexity.float.mean, quantized: perplexity.quantized.mean },
    kl: { mean: klDivergence.mean, p999: klDivergence999 },
    sameToken: sameNextToken.mean,
    warnings,
  });
});

test('what does not belong together is refused, with its name', async (t) => {
  const golden = goldenOf('llama');
  const folder = folderOf(t, golden, weightsIn(golden));
  const refused = async (other: string, code: string, message: RegExp, data: object = fed(judged)) => {
    const error = await t.throwsAsync(evaluateCheckpoint(folder, other, { data: data as never }), {
      message,
    });
    t.is((error as { code?: string }).code, code);
  };
  const less = weightsIn(golden);
  for (const name of ['model.embed_tokens.weight', 'lm_head.weight'])
    less[name] = { shape: [39, 32], values: less[name]!.values.subarray(0, 39 * 32) };
  await refused(
    folderOf(t, { ...golden, config: { ...golden.config, vocab_size: 39 } }, less),
    'ERR_VERTEXQ_UNSUPPORTED',
    /has a vocabulary of 39, and .* of 40: it was not made of it/,
  );
  await refused(
    folder,
    'ERR_VERTEXQ_CALIBRATION',
    /has the token 40, and the vocabulary of .* those from 0 to 39/,
    fed([[3, 40, 1]]),
  );
  await refused(folder, 'ERR_VERTEXQ_CALIBRATION', /no text of two tokens/, fed([[3]]));
  const unknown = { ...golden, config: { ...golden.config, architectures: ['RwkvForCausalLM'] } };
  await refused(
    folderOf(t, unknown, weightsIn(golden)),
    'ERR_VERTEXQ_DECODER',
    /the architecture "RwkvForCausalLM" is not known\. Known are [A-Za-z0-9, ]+$/,
  );
  const odd = weightsIn(golden);
  odd['model.norm.weight']!.values[3] = NaN;
  await refused(
    folderOf(t, golden, odd),
    'ERR_VERTEXQ_NOT_FINITE',
    /logits that are not finite in document 0/,
  );
  // As other tools have it.
  const strange = weightsIn(golden);
  const name = 'model.layers.0.mlp.up_proj.weight';
  strange[`${name}_blocks`] = strange[name]!;
  delete strange[name];
  await refused(
    folderOf(t, golden, strange),
    'ERR_VERTEXQ_UNSUPPORTED',
    /is quantized in a way that is not known here: "model\.layers\.0\.mlp\.up_proj\.weight_blocks"/,
  );
  const [one, two] = [folderOf(t, golden, weightsIn(golden)), folderOf(t, golden, weightsIn(golden))];
  const tokenizer = (word: string) => JSON.stringify({ model: { vocab: { [word]: 0 } } });
  writeFileSync(join(one, 'tokenizer.json'), tokenizer('a'));
  writeFileSync(join(two, 'tokenizer.json'), ` ${tokenizer('a')}`);
  await t.notThrowsAsync(evaluateCheckpoint(one, two, { data: fed(judged) }));
  writeFileSync(join(two, 'tokenizer.json'), tokenizer('b'));
  await t.throwsAsync(evaluateCheckpoint(one, two, { data: fed(judged) }), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /is another tokenizer than/,
  });
});

/** A quantized checkpoint's weights as floats, by a reader of its own. */
async function asFloats(folder: string, format: CheckpointFormat, bits: number): Promise<Weights> {
  const read = await readAll(folder);
  const codes = format === 'compressed-tensors' ? '.weight_packed' : '.qweight';
  const weights: Weights = {};
  const modules = [...read.tensors.keys()].filter((name) => name.endsWith(codes));
  for (const module of modules.map((name) => name.slice(0, -codes.length))) {
    const { shape, values } =
      format === 'compressed-tensors'
        ? unpackCompressed(read, module, bits)
        : unpackGptq(read, module, bits, format === 'gptq' ? 1 : 2);
    weights[`${module}.weight`] = { shape, values };
  }
  for (const [name, { dtype, shape, bytes }] of read.tensors)
    if (['F32', 'F16', 'BF16'].includes(dtype) && !/\.(weight_scale|scales)$/.test(name))
      weights[name] = { shape: [...shape], values: floats(bytes, dtype) };
  return weights;
}

/** As GPT-2 has its weights: those that were read lie the other way. */
function turned(weights: Weights): Weights {
  return Object.fromEntries(
    Object.entries(weights).map(([name, weight]) => {
      const [rows, columns] = weight.shape as [number, number];
      if (!/\.(c_attn|c_proj|c_fc)\.weight$/.test(name)) return [name, weight];
      const values = Float32Array.from(
        { length: weight.values.length },
        (_, i) => weight.values[(i % rows) * columns + Math.floor(i / rows)]!,
      );
      return [name, { shape: [columns, rows], values }];
    }),
  );
}

for (const [format, name] of [
  ['compressed-tensors', 'qwen2'],
  ['compressed-tensors', 'mixtral'],
  ['gptq', 'gpt2'],
  ['gptq', 'llama, biases and a head of another size, tied'],
  ['gptq_v2', 'mixtral'],
] as const)
  test(`weights in few bits are what they stand for: ${format}, ${name}`, async (t) => {
    const golden = goldenOf(name);
    const folder = folderOf(t, golden, fusedExperts(weightsIn(golden)), 'BF16');
    const quantized = await quantizedOf(t, folder, { bits: 4, groupSize: 16, format });
    const read = await asFloats(quantized, format, 4);
    const unpacked = folderOf(t, golden, name === 'gpt2' ? turned(read) : read);
    const [a, b] = [await inFolder(folder, 12, run(judged)), await inFolder(unpacked, 12, run(judged))];
    const evaluation = await evaluateCheckpoint(folder, [quantized, unpacked], { data: fed(judged) });
    isAsByHand(t, evaluation, byHand(judged, a, b, 40), format);
    const [packed, plain] = evaluation.checkpoints;
    t.deepEqual({ ...packed, quantized: '', bytes: 0 }, { ...plain, quantized: '', bytes: 0 });
  });

test('the logits of a large vocabulary are never there as a whole', async (t) => {
  const vocabulary = 200_000;
  const golden = wide(vocabulary);
  const weights = weightsIn(golden);
  const [folder, other] = [
    folderOf(t, golden, weights, 'BF16'),
    folderOf(t, golden, rounded(weights), 'BF16'),
  ];
  const file = (name: string, ids: number[][]) => {
    const data = Buffer.from(BigInt64Array.from(ids.flat(), BigInt).buffer);
    const path = join(temporaryFolder(t), `${name}.safetensors`);
    writeFileSync(path, fileOf({ input_ids: { dtype: 'I64', shape: [ids.length, ids[0]!.length], data } }));
    return path;
  };
  const peak = async (data: string) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [typescript, child, 'evaluateCheckpoint', folder, other, JSON.stringify({ data, memory: 0 })],
      { timeout: 240_000 },
    );
    return Number(stdout) / 2 ** 20;
  };
  // Of 1000 tokens they are 800 MB of each network.
  const [few, many] = [
    await peak(file('few', tokens(2, 10, vocabulary))),
    await peak(file('many', tokens(10, 100, vocabulary))),
  ];
  t.log(`${Math.round(few)} MiB, ${Math.round(many)} MiB`);
  t.true(many < few + 250, `${few} MiB of few tokens, ${many} MiB of many`);
  t.true(many < 700, `${many} MiB`);
});

test("text is cut into windows by the float folder's tokenizer, document by document", async (t) => {
  const golden = goldenOf('llama');
  const [folder, other] = [
    folderOf(t, golden, weightsIn(golden)),
    folderOf(t, golden, rounded(weightsIn(golden))),
  ];
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson()));
  const data = join(temporaryFolder(t), 'texts.txt');
  writeFileSync(data, 'a b c d a b c d\nthe cat\n\na\nthe cat a b c d a b\n');
  const evaluation = await evaluateCheckpoint(folder, other, { data, sequenceLength: 4 });
  const [own] = evaluation.checkpoints;
  t.is(evaluation.data.longest, 4);
  t.is(own!.documents.length, evaluation.data.documents);
  t.is(
    own!.documents.reduce((sum, { tokens: count }) => sum + count, 0),
    own!.tokens,
  );
  // As tokens of the same windows.
  const { windows } = await readWindows([data], { tokenizer: folder, sequenceLength: 4 });
  const feeds = windows.filter(({ ids }) => ids.length > 1).map(({ ids }) => fed([[...ids]]));
  const ofTokens = await evaluateCheckpoint(folder, other, { data: feeds });
  isClose(t, own!.klDivergence.mean, ofTokens.checkpoints[0]!.klDivergence.mean, 'KL');
  isClose(t, own!.perplexity.float.mean, ofTokens.checkpoints[0]!.perplexity.float.mean, 'perplexity');
  t.is(own!.tokens, ofTokens.checkpoints[0]!.tokens);
  const { checkpoints } = await evaluateCheckpoint(folder, other, { data, sequenceLength: 4, samples: 2 });
  t.true(checkpoints[0]!.tokens <= 6);
});
