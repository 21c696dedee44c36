// The models to mutate: those of the tests and examples, and small ones that have what these lack.
import { create, toBinary } from '@bufbuild/protobuf';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attribute, node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { ocrClassifierPath, ocrDetectorPath, ocrRecognizerPath } from '../models/ocr';
import { sentenceEncoderPath } from '../models/sentence-encoder';
import { mulberry32 } from '../models/trainer/random';

export interface Original {
  name: string;
  bytes: Uint8Array;
  /** How often it is chosen: large files take long. */
  weight: number;
}

export async function corpus(): Promise<Original[]> {
  const fixture = (name: string) => join(__dirname, '..', '..', 'test', 'fixtures', name);
  const read = (name: string, path: string, weight: number): Original => ({
    name,
    bytes: new Uint8Array(readFileSync(path)),
    weight,
  });
  return [
    ...smallOriginals(),
    read('mnist-cnn', fixture('mnist-cnn.onnx'), 15),
    read('mnist-mlp', fixture('mnist-mlp.onnx'), 6),
    read('ocr-classifier', ocrClassifierPath, 15),
    read('ocr-detector', ocrDetectorPath, 4),
    read('ocr-recognizer', ocrRecognizerPath, 4),
    read('sentence-encoder', await sentenceEncoderPath(), 1),
  ];
}

export function smallOriginals(): Original[] {
  return smallModels().map(([name, bytes]) => ({ name, bytes, weight: 12 }));
}

const size = 32;

function values(count: number, seed: number): Float32Array {
  const random = mulberry32(seed);
  return Float32Array.from({ length: count }, () => random() - 0.5);
}

function model(nodes: NodeProto[], initializer: TensorProto[]): Uint8Array {
  const dims = ['batch', size];
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      graph: create(GraphProtoSchema, {
        name: 'small',
        node: nodes,
        initializer,
        input: [valueInfo('x', DataType.FLOAT, dims), valueInfo('condition', DataType.BOOL, [])],
        output: [valueInfo('y', DataType.FLOAT, dims)],
      }),
    }),
  );
}

/** A square weight. */
const square = (name: string, seed: number): TensorProto =>
  tensor(name, [size, size], values(size * size, seed));

function typed(name: string): TensorProto {
  const made = square(name, 3);
  made.floatData = [...values(size * size, 3)];
  made.rawData = new Uint8Array(0);
  return made;
}

/** Its data lies in one of the files that `setTraps` makes. */
function external(name: string, offset: number): TensorProto {
  const made = tensor(name, [size, size], new Float32Array(0));
  made.dataLocation = DataLocation.EXTERNAL;
  made.externalData = Object.entries({
    location: 'weights.bin',
    offset: String(offset),
    length: String(4 * size * size),
  }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
  return made;
}

function branch(name: string, weight: string): ReturnType<typeof attribute> {
  const graph = create(GraphProtoSchema, {
    name,
    node: [node('MatMul', ['h', weight], [`${name}_y`])],
    initializer: [square(weight, 5)],
    output: [valueInfo(`${name}_y`, DataType.FLOAT)],
  });
  return Object.assign(attribute(name, 0n), { type: AttributeType.GRAPH, g: graph });
}

function smallModels(): [string, Uint8Array][] {
  const choice = node('If', ['condition'], ['y']);
  choice.attribute.push(branch('then_branch', 'v'), branch('else_branch', 'u'));
  const turned = { attributes: { perm: [1n, 0n] } };
  return [
    [
      'products',
      model(
        [
          node('Constant', [], ['c'], { attributes: { value: square('', 1) } }),
          node('Transpose', ['c'], ['ct'], turned),
          node('MatMul', ['x', 'ct'], ['a']),
          node('Gemm', ['a', 'w', 'b'], ['g'], { attributes: { alpha: 0.5, beta: 2, transB: 1n } }),
          node('MatMul', ['g', 'w'], ['t']),
          node('MatMul', ['t', 'f'], ['y']),
        ],
        [square('w', 2), tensor('b', [size], values(size, 4)), typed('f')],
      ),
    ],
    ['branches', model([node('MatMul', ['x', 'w'], ['h']), choice], [square('w', 6)])],
    [
      'elsewhere',
      model(
        [node('MatMul', ['x', 'w'], ['h']), node('MatMul', ['h', 'v'], ['y'])],
        [external('w', 0), external('v', 4096)],
      ),
    ],
    [
      'convolutions',
      model(
        [
          node('Reshape', ['x', 'shape'], ['i']),
          node('Conv', ['i', 'k', 'b'], ['h'], { attributes: { pads: [1n, 1n, 1n, 1n], group: 2n } }),
          node('Relu', ['h'], ['r']),
          node('ConvTranspose', ['r', 'l'], ['o'], { attributes: { strides: [2n, 2n] } }),
          node('Flatten', ['o'], ['y']),
        ],
        [
          tensor('shape', [4], BigInt64Array.of(-1n, 4n, 2n, 4n)),
          tensor('k', [8, 2, 3, 3], values(144, 7)),
          tensor('b', [8], values(8, 8)),
          tensor('l', [8, 2, 2, 2], values(64, 9)),
        ],
      ),
    ],
    [
      'others',
      model(
        [
          node('Cast', ['x'], ['ids'], { attributes: { to: 7n } }),
          node('Gather', ['table', 'ids'], ['e']),
          node('LSTM', ['e', 'w', 'r'], ['s', ''], { attributes: { hidden_size: 8n } }),
          node('MatMul', ['h', 's'], ['y']),
          node('Special', ['y'], ['z'], { domain: 'com.example' }),
        ],
        [
          square('table', 10),
          square('h', 11),
          tensor('w', [1, 32, 32], values(1024, 12)),
          tensor('r', [1, 32, 8], values(256, 13)),
        ],
      ),
    ],
  ];
}
