// A network of four convolutions along time, as those are that listen: few weights, and very many patches.
import { create, toBinary } from '@bufbuild/protobuf';
import { stat, writeFile } from 'node:fs/promises';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as DataType,
} from '../../lib/containers/onnx/onnx_pb';
import { mulberry32 } from '../../scripts/models/trainer/random';

/** Channels out and in, taps, stride: 1.26 MB of weights. */
const layers = [
  [64, 1, 80, 4],
  [128, 64, 8, 2],
  [128, 128, 8, 1],
  [128, 128, 7, 2],
] as const;

/** Convolutions and Relu in turns: `x`, float32 [batch, 1, length], to `y`. Returns the bytes of the file. */
export async function writeSound(file: string): Promise<number> {
  const random = mulberry32(3);
  const weights = layers.map(([outputs, inputs, taps], i) => {
    const bound = Math.sqrt(6 / (inputs * taps));
    const values = Float32Array.from({ length: outputs * inputs * taps }, () => bound * (2 * random() - 1));
    return tensor(`weight_${i}`, [outputs, inputs, taps], values);
  });
  const value = (i: number): string => (i === 0 ? 'x' : i === layers.length ? 'y' : `relu_${i}`);
  const graph = create(GraphProtoSchema, {
    name: 'sound',
    node: layers.flatMap(([, , taps, stride], i) => [
      node('Conv', [value(i), `weight_${i}`], [`conv_${i}`], {
        name: `layer_${i}`,
        attributes: { strides: [BigInt(stride)], pads: [BigInt(taps >> 1), BigInt((taps - 1) >> 1)] },
      }),
      node('Relu', [`conv_${i}`], [value(i + 1)]),
    ]),
    initializer: weights,
    input: [valueInfo('x', DataType.FLOAT, ['batch', 1, 'length'])],
    output: [valueInfo('y', DataType.FLOAT)],
  });
  const opsetImport = [{ domain: '', version: 17n }];
  const model = create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph });
  await writeFile(file, toBinary(ModelProtoSchema, model));
  return (await stat(file)).size;
}
