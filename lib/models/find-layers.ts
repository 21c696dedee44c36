import picomatch from 'picomatch';
import { located, VertexqError } from '../errors';
import { type Constant, type Graph, intAttribute, isStandard } from './onnx/graph';
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from './onnx/onnx_pb';
import { dimsOf, floatValues, transposed, typeNameOf } from './onnx/tensor';

/** A node that multiplies activations by a constant matrix. */
export interface Layer {
  /** The node's name, or that of its output; unique. */
  name: string;
  kind: 'MatMul' | 'Gemm';
  node: NodeProto;
  /** Which of the node's inputs is the weight: 0 only for a MatMul with its weight on the left. */
  weightIndex: 0 | 1;
  /** The value that the layer sees. */
  activation: string;
  /** Which axis of the activation runs over the layer's inputs: −1 the last, −2 the last but one. */
  featureAxis: -1 | -2;
  /** The constant that holds the weight. */
  constant: Constant;
  /** Whether `constant.tensor` is [outFeatures, inFeatures]; else it is [inFeatures, outFeatures]. */
  neuronMajor: boolean;
  outFeatures: number;
  inFeatures: number;
}

export interface SkippedLayer {
  name: string;
  reason: string;
}

export interface FoundLayers {
  /** In an order in which each layer comes after those whose outputs it uses. */
  layers: Layer[];
  /** Products with a constant that this version cannot quantize. */
  skipped: SkippedLayer[];
}

/**
 * The layers of a graph that can be quantized: MatMul and Gemm with a constant float32 matrix. Throws ERR_VERTEXQ_ONNX at a MatMul
 * or Gemm that lacks an input or its output.
 */
export function findLayers(graph: Graph): FoundLayers {
  const found: FoundLayers = { layers: [], skipped: [] };
  const names = new Set<string>();
  for (const node of graph.order) {
    if ((node.opType !== 'MatMul' && node.opType !== 'Gemm') || !isStandard(node)) continue;
    if (!node.input[0] || !node.input[1] || !node.output[0])
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `${graph.file}: node "${node.name}" (${node.opType}) should have two inputs and an output, and has [${node.input.join(', ')}] and [${node.output.join(', ')}]`,
      );
    const right = graph.constant(node.input[1]);
    const left = graph.constant(node.input[0]);
    const constant = right ?? (node.opType === 'MatMul' ? left : undefined);
    // Without an activation there is nothing to fit, and the runtime folds such a product away.
    if (!constant || (left && right)) continue;
    const name = uniqueName(node, names);
    const reason = unsuitable(constant.tensor);
    if (reason) found.skipped.push({ name, reason });
    else found.layers.push(layerOf(name, node, constant, right ? 1 : 0));
  }
  return found;
}

function uniqueName(node: NodeProto, names: Set<string>): string {
  const base = node.name || node.output[0]!;
  let name = base;
  for (let count = 2; names.has(name); count++) name = `${base}#${count}`;
  names.add(name);
  return name;
}

function unsuitable(tensor: TensorProto): string | undefined {
  if (tensor.dataType !== DataType.FLOAT) return `its weight is ${typeNameOf(tensor.dataType)}, not float32`;
  const dims = dimsOf(tensor);
  if (dims.length !== 2) return `its weight has ${dims.length} dimensions, not 2`;
  return dims.includes(0) ? 'its weight is empty' : undefined;
}

function layerOf(name: string, node: NodeProto, constant: Constant, weightIndex: 0 | 1): Layer {
  const dims = dimsOf(constant.tensor) as [number, number];
  const transB = node.opType === 'Gemm' && intAttribute(node, 'transB', 0) !== 0;
  const transA = node.opType === 'Gemm' && intAttribute(node, 'transA', 0) !== 0;
  // A weight on the right is [in, out] as the node sees it, unless transB; on the left [out, in].
  const neuronMajor = ((weightIndex === 0) !== transB) !== constant.transposed;
  return {
    name,
    kind: node.opType as 'MatMul' | 'Gemm',
    node,
    weightIndex,
    activation: node.input[1 - weightIndex]!,
    featureAxis: weightIndex === 0 || transA ? -2 : -1,
    constant,
    neuronMajor,
    outFeatures: neuronMajor ? dims[0] : dims[1],
    inFeatures: neuronMajor ? dims[1] : dims[0],
  };
}

/** Throws at a weight that cannot be read: ERR_VERTEXQ_ONNX, ERR_VERTEXQ_UNSUPPORTED. */
export function requireWeight(layer: Layer): void {
  try {
    floatValues(layer.constant.tensor);
  } catch (error) {
    throw located(`layer "${layer.name}"`, error);
  }
}

/** W, [outFeatures, inFeatures]. */
export function weightOf(layer: Layer): Float32Array {
  const values = floatValues(layer.constant.tensor);
  return layer.neuronMajor ? values : transposed(values, layer.inFeatures, layer.outFeatures);
}

/** Values [outFeatures, inFeatures] in the layout of the layer's tensor. */
export function inTensorLayout(layer: Layer, weight: Float32Array): Float32Array {
  return layer.neuronMajor ? weight : transposed(weight, layer.outFeatures, layer.inFeatures);
}

/**
 * The layers that the globs choose; a star also matches slashes. Throws a RangeError at a pattern that no layer matches, and
 * ERR_VERTEXQ_NO_LAYERS where nothing is left.
 */
export function chooseLayers(
  found: FoundLayers,
  file: string,
  include: readonly string[] | undefined,
  skip: readonly string[],
): FoundLayers {
  const names = found.layers.map((layer) => layer.name);
  for (const [option, patterns] of [
    ['layers', include ?? []],
    ['skip', skip],
  ] as const)
    for (const pattern of patterns)
      if (!names.some(matcher([pattern])))
        throw new RangeError(
          `The pattern "${pattern}" of the "${option}" option matches no layer of ${file}. ` +
            `It has: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`,
        );
  const wanted = include ? matcher(include) : () => true;
  const unwanted = matcher(skip);
  const layers = found.layers.filter((layer) => wanted(layer.name) && !unwanted(layer.name));
  if (layers.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_NO_LAYERS',
      `${file} has no layer to quantize: this version quantizes MatMul and Gemm with constant float32 weights` +
        (found.skipped[0] ? ` (${found.skipped[0].name}: ${found.skipped[0].reason})` : ''),
    );
  return { layers, skipped: found.skipped };
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  return patterns.length === 0 ? () => false : picomatch([...patterns], { bash: true, dot: true });
}
