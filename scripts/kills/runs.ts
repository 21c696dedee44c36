import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { type CheckpointOptions, type ModelOptions, quantizeCheckpoint } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { type ModelProto, ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { fileOf, smallModel, tensor as weight, type Tensors, writeFolder } from '../../test/checkpoints/make';
import { formatNpz } from '../../test/containers/npy/make-npz';
import { network, random } from '../../test/models/networks';
import { bidirectional, features } from '../../test/models/recurrent';
import { cases, weightsIn, writeModel } from '../../test/decoders/tiny';
import { smallModel as smallLlama, writeSmall } from '../../test/checkpoints/gguf/models';
import type { KilledRun } from './kill-and-resume';

// Small runs of all kinds: what matters is that they take many steps.

export const width = 48;
export const depth = 6;

/** Products, with a Relu behind each. */
export const products = (): ModelProto =>
  network({
    nodes: Array.from({ length: depth }, (_, i) => [
      node('MatMul', [i === 0 ? 'x' : `h${i}`, `w${i}`], [`m${i}`], { name: `layer${i}` }),
      node('Relu', [`m${i}`], [i === depth - 1 ? 'y' : `h${i + 1}`]),
    ]).flat(),
    constants: Array.from({ length: depth }, (_, i) =>
      tensor(`w${i}`, [width, width], random(width * width, i + 1)),
    ),
  });

interface Rows {
  data: Float32Array | Int32Array | BigInt64Array;
  dims: number[];
}
type Data = Record<string, Rows>;
const rows = (dims: number[], seed = 7): Rows => ({
  data: random(
    dims.reduce((product, dim) => product * dim, 1),
    seed,
  ),
  dims,
});

/** Networks that are fitted to data, in every format and by every method that there is for them. */
export function networkRuns(folder: string): KilledRun[] {
  const of = (name: string, model: ModelProto | string, data: Data, options: ModelOptions): KilledRun => {
    const own = join(folder, name);
    mkdirSync(own, { recursive: true });
    const [input, calibration] = [join(own, 'in.onnx'), join(own, 'data.npz')];
    if (typeof model === 'string') copyFileSync(model, input);
    else writeFileSync(input, toBinary(ModelProtoSchema, model));
    writeFileSync(calibration, formatNpz(new Map(Object.entries(data))));
    const file = 'out.onnx';
    return { name, input, folder: join(own, 'out'), file, options: { calibration, threads: 1, ...options } };
  };
  const x = rows([300, width]);
  const convolutional = join(__dirname, '..', '..', 'test', 'fixtures', 'mnist-cnn.onnx');
  const images = { image: rows([60, 1, 28, 28]) };
  const steps = {
    x: rows([9, 40, features]),
    lengths: { data: Int32Array.from({ length: 40 }, (_, i) => 3 + (i % 7)), dims: [40] },
  };
  return [
    of('products-matmulnbits-vertex', products(), { x }, { bits: 3, groupSize: 16 }),
    of('products-data-gptq', products(), { x }, { method: 'gptq', externalData: true, bits: 4 }),
    of('images-qdq-gpfq', convolutional, images, { method: 'gpfq', format: 'qdq', bits: 4 }),
    of('steps-float-vertex', bidirectional(), steps, { format: 'float', levels: 3, batchAxis: 'items' }),
    of('products-float-maly-saab', products(), { x }, { method: 'maly-saab', format: 'float', memory: 0 }),
  ];
}

/** Checkpoints, a file and folders, with recorded inputs and without. */
export function checkpointRuns(folder: string): KilledRun[] {
  const of = (name: string, input: string, options: CheckpointOptions, file?: string): KilledRun => ({
    ...{ name, input, folder: join(folder, name), options: { threads: 1, ...options } },
    ...(file === undefined ? {} : { file }),
  });
  const input = join(folder, 'checkpoint');
  const shards = smallModel('BF16', 128);
  writeFolder(input, shards);
  const whole: Tensors = Object.assign({}, ...shards) as Tensors;
  const single = join(folder, 'single.safetensors');
  writeFileSync(single, fileOf(whole));
  const seen: Tensors = {};
  for (const [i, [name, { shape }]] of Object.entries(whole).entries())
    if (shape.length === 2) seen[name] = weight('F32', [200, shape[1]!], i + 50);
  const activations = join(folder, 'seen.safetensors');
  writeFileSync(activations, fileOf(seen));
  return [
    of('folder-plain', input, { groupSize: 32 }),
    of('folder-recorded', input, { groupSize: 32, activations, method: 'gptq', format: 'gptq_v2' }),
    of('file-recorded', single, { groupSize: 64, activations, bits: 3, format: 'float' }, 'out.safetensors'),
  ];
}

/** Writes texts of tokens below 40. */
function writeTokens(path: string): void {
  const ids = BigInt64Array.from(random(48 * 14, 5), (value) =>
    BigInt(Math.floor(Math.abs(value) * 1e4) % 40),
  );
  writeFileSync(path, formatNpz(new Map([['input_ids', { data: ids, dims: [48, 14] }]])));
}

/** GGUF files, of folders and of GGUF files, rounded and fitted to tokens. */
export async function ggufRuns(folder: string): Promise<KilledRun[]> {
  const calibration = join(folder, 'tokens.npz');
  writeTokens(calibration);
  const [input, float] = [join(folder, 'in'), join(folder, 'f16.gguf')];
  writeSmall(input, 'llama', 'F16', smallLlama('llama', { hidden: 256, feedForward: 512, blocks: 4 }));
  await quantizeCheckpoint(input, float, { format: 'gguf:f16' });
  const of = (name: string, from: string, options: CheckpointOptions): KilledRun => ({
    ...{
      name,
      input: from,
      folder: join(folder, name),
      file: 'out.gguf',
      options: { threads: 1, ...options },
    },
  });
  return [
    of('folder-fitted', input, { format: 'gguf:q4_0', method: 'gptq', calibration }),
    of('gguf-fitted', float, { format: 'gguf:q3_k_m', calibration, effort: 1 }),
    of('gguf-rounded', float, { format: 'gguf:q2_k' }),
    {
      ...of('gguf-folder', float, {
        format: 'compressed-tensors',
        groupSize: 32,
        method: 'gptq',
        calibration,
      }),
      file: '',
    },
  ];
}

/** Language models that are fitted to tokens, in every kind of format. */
export function calibratedRuns(folder: string): KilledRun[] {
  const calibration = join(folder, 'tokens.npz');
  writeTokens(calibration);
  const of = (name: string, options: CheckpointOptions): KilledRun => {
    const golden = cases.find((one) => one.name === name)!;
    const own = join(folder, name);
    const input = join(own, 'in');
    mkdirSync(input, { recursive: true });
    writeModel(input, golden.config, weightsIn(golden), 'BF16');
    return { name, input, folder: join(own, 'out'), options: { calibration, threads: 1, ...options } };
  };
  return [
    of('llama', { bits: 3, groupSize: 16 }),
    of('qwen3', { bits: 4, groupSize: 32, method: 'gptq', format: 'gptq_v2', grid: 'asymmetric' }),
    of('mixtral', { bits: 2, groupSize: 8, method: 'gpfq', format: 'float' }),
  ];
}
