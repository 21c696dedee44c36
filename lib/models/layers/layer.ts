import type { Constant, Scope } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import type { RowsOf } from '../../traversal/layer';

/** A node with a constant weight W: each neuron, a row of W, is multiplied with the rows of the node's input. */
export interface Layer {
  /** The node's name, or that of its output, with the weight's where the node has several; unique. */
  name: string;
  /** The node's operator, such as `Conv`. */
  kind: string;
  node: NodeProto;
  /** The graph that the node stands in. */
  scope: Scope;
  /** Which of the node's inputs is the weight. */
  weightIndex: number;
  constant: Constant;
  /**
   * How the node sees W: `neuron-major`, [outFeatures, inFeatures] with further dimensions that only split these; or `input-major`,
   * [groups, inFeatures, outFeatures / groups].
   */
  order: 'neuron-major' | 'input-major';
  /** Neurons, of all groups. */
  outFeatures: number;
  /** Inputs of each neuron. */
  inFeatures: number;
  /** As many groups of equally many neurons, one behind the other, have inputs of their own (grouped convolution). */
  groups: number;
  /** What the weight is multiplied with; null where it is not multiplied (an embedding) or that is not a value of the graph. */
  input: { value: string; rows: RowsOf } | null;
  /** Where the network picks the rows that it sees, as those of an expert: what it would see of all rows, a value of the same width. */
  wider?: string;
}

/** Whether a layer sees a value of the model's own graph, which can be looked at between two of its nodes. */
export function isSeen({ input, scope }: Layer): boolean {
  return input !== null && scope.parent === null;
}

/** The node of the model's own graph that computes with a layer's weight: its own, or the one that holds it. */
export function outerNode({ node, scope }: Layer): NodeProto {
  return scope.top ?? node;
}

/** A weight that is left as it is. */
export interface SkippedLayer {
  name: string;
  reason: string;
  /** Whether options or their defaults left it; else it cannot be quantized. */
  choice: boolean;
  tensor: TensorProto;
}

/** How a weight lies in its tensor as stored: what two uses of one tensor must agree on to share codes. */
export function storageOf({ constant, order, outFeatures, inFeatures, groups }: Layer): string {
  const byNeurons = (order === 'neuron-major') !== constant.transposed;
  // Steps that do more than exchange two dimensions are told apart by all that they do.
  const form = constant.dims.length === 2 ? '' : `${constant.order.join()}|${order}`;
  return `${byNeurons ? 'neurons' : 'inputs'} ${outFeatures}×${inFeatures}/${groups} ${form} ${constant.dataType}`;
}
