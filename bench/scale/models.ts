// Chains of equal layers, as large as wanted: the weights are made and written one after the other.
import { create, toBinary } from '@bufbuild/protobuf';
import { open, stat, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { mulberry32, type Random } from '../../scripts/models/trainer/random';

export interface Chain {
  layers: number;
  /** Inputs and outputs of every layer. */
  width: number;
  /** Whether the weights lie in a file of their own, `<file>.data`. */
  external: boolean;
}

/** Where external data begins: at whole pages, as exporters do. */
const alignment = 4096;

/** MatMul and Relu in turns, opset 17: `x`, float32 [batch, width], to `y`. Returns the bytes of all files. */
export async function writeChain(file: string, { layers, width, external }: Chain): Promise<number> {
  const random = mulberry32(1);
  const dataFile = `${file}.data`;
  const weights = external
    ? await writeWeights(dataFile, layers, width, random)
    : Array.from({ length: layers }, (_, i) => tensor(weightName(i), [width, width], weight(width, random)));
  const value = (i: number): string => (i === 0 ? 'x' : i === layers ? 'y' : `relu_${i}`);
  const graph = create(GraphProtoSchema, {
    name: 'chain',
    node: weights.flatMap(({ name }, i) => [
      node('MatMul', [value(i), name], [`product_${i}`], { name: `layer_${i}` }),
      node('Relu', [`product_${i}`], [value(i + 1)]),
    ]),
    initializer: weights,
    input: [valueInfo('x', DataType.FLOAT, ['batch', width])],
    output: [valueInfo('y', DataType.FLOAT, ['batch', width])],
  });
  const opsetImport = [{ domain: '', version: 17n }];
  await writeFile(
    file,
    toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph })),
  );
  const files = external ? [file, dataFile] : [file];
  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
  return sizes.reduce((a, b) => a + b, 0);
}

const weightName = (layer: number): string => `weight_${layer}`;

/** Uniform around 0, so that the outputs of MatMul and Relu are about as large as their inputs. */
function weight(width: number, random: Random): Float32Array {
  const bound = Math.sqrt(6 / width);
  const values = new Float32Array(width * width);
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random() - 1);
  return values;
}

/** Writes weights one after the other, and returns the tensors that say where they are. */
async function writeWeights(
  path: string,
  layers: number,
  width: number,
  random: Random,
): Promise<TensorProto[]> {
  const tensors: TensorProto[] = [];
  const handle = await open(path, 'wx');
  try {
    let offset = 0;
    for (let layer = 0; layer < layers; layer++) {
      const values = weight(width, random);
      const bytes = new Uint8Array(values.buffer);
      // One write may take less than it is given.
      for (let done = 0; done < bytes.length;)
        done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
      tensors.push(elsewhere(weightName(layer), width, basename(path), offset, bytes.length));
      offset = alignment * Math.ceil((offset + bytes.length) / alignment);
    }
  } finally {
    await handle.close();
  }
  return tensors;
}

function elsewhere(
  name: string,
  width: number,
  location: string,
  offset: number,
  length: number,
): TensorProto {
  const made = tensor(name, [width, width], new Float32Array(0));
  made.dataLocation = DataLocation.EXTERNAL;
  made.externalData = Object.entries({ location, offset: String(offset), length: String(length) }).map(
    ([key, value]) => create(StringStringEntryProtoSchema, { key, value }),
  );
  return made;
}
