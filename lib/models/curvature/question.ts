import type { TensorLike } from '../../types';
import type { Layer } from '../layers/layer';
import type { Graph } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import type { Asked } from './asked';
import type { Substitutes } from './part-networks';

/** Nodes that make numbers of the cotangent of a layer's first output. */
export interface Taken {
  nodes: NodeProto[];
  constants: TensorProto[];
  /** float32. */
  result: string;
  /** How many there are in each: what is told is their mean. */
  channels: number;
  /** The cotangent itself, float32. */
  cotangent?: string;
}

/** Nodes that compare a network's outputs with the float one's. */
export interface Differing {
  nodes: NodeProto[];
  /** The float network's outputs. */
  inputs: { name: string; type: string }[];
  /** What they differ in. */
  outputs: string[];
}

/** What a network that is gone back through is asked, and what of it is told of each layer. */
export interface Question {
  /** The float network's weights in place of its own, by its nodes: that one is run beside it. undefined: it is the float network. */
  readonly floats?: Substitutes;
  /** Where it is not: what makes something of the outputs of both, in the order of `asked`, which is then what is asked about. */
  differing?(asked: readonly Asked[], graph: Graph, prefix: string): Differing;
  /** How often an output is asked. */
  drawsOf(asked: Asked, output: TensorLike): number;
  /** Called for one batch after the other. */
  begin(batch: number): void;
  /** What is sent back from an output. */
  cotangents(asked: Asked, output: TensorLike, draw: number, batch: number): Promise<TensorLike>;
  /** How many rows an output has had. */
  rowsOf(value: string): number;
  taken(layer: Layer, cotangent: string, prefix: string): Taken;
}
