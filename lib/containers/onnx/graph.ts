import type { ModelProto, NodeProto } from './onnx_pb';
import { Scope } from './scope';

export * from './nodes';
export { Scope, type Constant, type Placed } from './scope';

/** A model's own graph, with those that its nodes hold. */
export class Graph extends Scope {
  private readonly places: ReadonlyMap<NodeProto, number>;

  /** Throws as a Scope does. */
  constructor(model: ModelProto, file: string) {
    super(model.graph!, file);
    this.places = new Map(this.order.map((node, place) => [node, place]));
  }

  /** Where a node stands in `order`. */
  placeOf(node: NodeProto): number {
    return this.places.get(node)!;
  }
}

/** Nodes by the first value that they make: what tells them in a copy of their graph. */
export const byFirstOutput = (nodes: readonly NodeProto[]): ReadonlyMap<string | undefined, NodeProto> =>
  new Map(nodes.map((node) => [firstOutput(node), node]));

export const firstOutput = ({ output }: NodeProto): string | undefined => output.find((name) => name !== '');
