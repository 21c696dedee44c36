// ONNX networks for readers: products, convolutions, embeddings; float32 and float16.
import { create, toBinary } from '@bufbuild/protobuf';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../../lib';
import { OutputErrorSum } from '../../../lib/evaluate/output-error';
import { node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as DataType,
} from '../../../lib/containers/onnx/onnx_pb';
import { loadSession, runSession } from '../../../lib/models/runtime';
import { convertNow } from '../../../lib/native/tensors';
import type { Feeds, Grid } from '../../../lib';
import { type DevelopmentModel, digitModels } from '../models';
import { type Answer, Answers, type Choice } from './answers';
import { ask, networkReaders } from './environments';

interface Network extends DevelopmentModel {
  kind: string;
  operators?: string[];
  tolerance: number;
}

type NetworkOptions = ModelOptions & { format: 'matmulnbits' | 'qdq' };

interface Job {
  choice: Choice;
  file: string;
  feeds: { name: string; file: string; dims: readonly number[]; type: string }[];
  expected: string;
}

/** Sums of float32 in another order. */
const tolerance = 1e-4;
/** Values of float16 beside those that a reader computes from codes in float32. */
const halfTolerance = 5e-3;
const [tokens, width, hidden] = [300, 64, 96];

/** The same for the same seed, around 0. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed * 7919 + 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from({ length: count }, () => (next() + next() + next() - 1.5) / 4);
}

/** Words looked up in a table, two products: the inputs are called as transformers.js feeds them. */
function embedder(folder: string, half: boolean): Network {
  const matrix = (name: string, rows: number, cols: number, seed: number) => {
    const values = numbers(rows * cols, seed);
    if (!half) return tensor(name, [rows, cols], values);
    const made = tensor(name, [rows, cols], new Uint8Array(convertNow(values, 'F32', 'F16').buffer));
    made.dataType = DataType.FLOAT16;
    return made;
  };
  const graph = create(GraphProtoSchema, {
    name: 'embedder',
    node: [
      node('Gather', ['table', 'input_ids'], ['words']),
      node('MatMul', ['words', 'up'], ['wide']),
      node('Relu', ['wide'], ['positive']),
      node('MatMul', ['positive', 'down'], ['narrow']),
      node('Cast', ['narrow'], ['last_hidden_state'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    initializer: [
      matrix('table', tokens, width, 1),
      matrix('up', width, hidden, 2),
      matrix('down', hidden, width, 3),
    ],
    input: [valueInfo('input_ids', DataType.INT64, ['batch', 'length'])],
    output: [valueInfo('last_hidden_state', DataType.FLOAT, ['batch', 'length', width])],
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph,
  });
  const path = join(folder, half ? 'embedder16.onnx' : 'embedder.onnx');
  writeFileSync(path, toBinary(ModelProtoSchema, model));
  const data = BigInt64Array.from({ length: 24 }, (_, i) => BigInt((i * 13) % tokens));
  return {
    ...{ name: 'embedder', path, feeds: [{ input_ids: { data, dims: [2, 12], type: 'int64' } }] as Feeds[] },
    kind: `embedding, products in ${half ? 'float16' : 'float32'}`,
    operators: ['Gather', 'MatMul'],
    tolerance: half ? halfTolerance : tolerance,
  };
}

function networks(folder: string): Network[] {
  const digits = digitModels().map((model) => ({
    ...model,
    ...{ kind: 'products, convolutions in float32', tolerance },
  }));
  return [...digits, embedder(folder, false), embedder(folder, true)];
}

const grids: readonly Grid[] = ['asymmetric', 'integer', 'full-range', 'zero-free'];

function* choices(network: Network): Generator<{ choice: Choice; options: NetworkOptions }> {
  for (const format of ['matmulnbits', 'qdq'] as const)
    for (const grid of grids)
      for (const groupSize of [32, 'channel'] as const)
        for (let bits = 1; bits <= 8; bits++)
          yield {
            choice: {
              words: [format, network.kind, grid, groupSize === 'channel' ? 'channel' : `${groupSize}`],
              bits,
              tolerance: network.tolerance,
            },
            options: {
              ...{ format, grid, groupSize, bits: bits, method: 'msq' },
              ...(network.operators ? { operators: network.operators } : {}),
            },
          };
}

/** Every network in every way, in every reader. */
export async function tryNetworks(folder: string): Promise<Answers> {
  const answers = new Answers();
  const jobs: Job[] = [];
  const { version } = JSON.parse(readFileSync(require.resolve('onnxruntime-node/package.json'), 'utf8')) as {
    version: string;
  };
  for (const network of networks(folder))
    for (const { choice, options } of choices(network)) {
      const file = join(folder, `${jobs.length}.onnx`);
      try {
        await quantizeModel(network.path, file, options);
      } catch (error) {
        // No such grid of so few levels, or not in this format: refused before work.
        if (error instanceof RangeError) continue;
        throw error;
      }
      const job = { choice, file, ...(await reference(network, options, join(folder, `${jobs.length}`))) };
      jobs.push(job);
      answers.note(choice, `onnxruntime-node ${version}`, await inThisProcess(network, job));
    }
  for (const reader of networkReaders) {
    const its = reader.script.includes('transformers')
      ? jobs.filter(({ feeds }) => feeds[0]!.name === 'input_ids')
      : jobs;
    for (const [i, answer] of ask<Answer>(reader, its).entries())
      answers.note(its[i]!.choice, reader.title, answer);
  }
  return answers;
}

/** The same weights as floats, run once: inputs and outputs in files. */
async function reference(
  network: Network,
  options: NetworkOptions,
  stem: string,
): Promise<Omit<Job, 'choice' | 'file'>> {
  const float = `${stem}.float.onnx`;
  await quantizeModel(network.path, float, { ...options, format: 'float' });
  const session = await loadSession(float, network.name);
  const [feeds] = network.feeds;
  const output = session.outputNames[0]!;
  const answer = await runSession(session, feeds!, [output], network.name);
  await session.release();
  const expected = `${stem}.out`;
  writeFileSync(expected, bytesOf(answer[output]!.data as Float32Array));
  return {
    expected,
    feeds: Object.entries(feeds!).map(([name, { data, dims, type = 'float32' }]) => {
      const file = `${stem}.${name}.in`;
      writeFileSync(file, bytesOf(data as Float32Array));
      return { name, file, dims, type };
    }),
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: NodeJS.TypedArray) =>
  new Uint8Array(buffer, byteOffset, byteLength);

async function inThisProcess(network: Network, { file, expected }: Job): Promise<Answer> {
  try {
    const session = await loadSession(file, network.name, { accuracyLevel: 1, foldWeights: false });
    try {
      const name = session.outputNames[0]!;
      const answer = await runSession(session, network.feeds[0]!, [name], network.name);
      const wanted = readFileSync(expected);
      const data = new Float32Array(wanted.buffer, wanted.byteOffset, wanted.length / 4);
      const sum = new OutputErrorSum();
      await sum.add({ [name]: { ...answer[name]!, data } }, answer);
      return { error: sum.result()!.error };
    } finally {
      await session.release();
    }
  } catch (error) {
    return { failure: (error as Error).message };
  }
}
