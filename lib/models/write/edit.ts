import { create } from '@bufbuild/protobuf';
import { usedBy, withSubgraphs } from '../../containers/onnx/graph';
import {
  type ModelProto,
  type NodeProto,
  OperatorSetIdProtoSchema,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';

interface Placed {
  nodes: readonly NodeProto[];
  /** Of those before one node, the ones placed last come last. */
  turn: number;
}

/** Changes of a model's nodes and initializers, wherever they stand: noted, and made together, as there may be very many. */
export class Edits {
  private readonly before = new Map<NodeProto, NodeProto[]>();
  private readonly behind = new Map<NodeProto, NodeProto[]>();
  private readonly removed = new Set<NodeProto>();
  private readonly replaced = new Map<TensorProto, TensorProto>();
  /** By value. */
  private readonly placed = new Map<string, Placed>();
  private turns = 0;

  /** Puts nodes before another one, in the graph that holds it, and behind those put there earlier. */
  insertBefore(node: NodeProto, nodes: readonly NodeProto[]): void {
    this.before.set(node, [...(this.before.get(node) ?? []), ...nodes]);
  }

  /** Puts nodes behind another one, in the graph that holds it, and before those put there earlier. */
  insertBehind(node: NodeProto, nodes: readonly NodeProto[]): void {
    this.behind.set(node, [...nodes, ...(this.behind.get(node) ?? [])]);
  }

  /** Takes a node out of the graph that holds it. */
  remove(node: NodeProto): void {
    this.removed.add(node);
  }

  /** Puts an initializer in the place of another. The first one stays. */
  replace(tensor: TensorProto, by: TensorProto): void {
    if (!this.replaced.has(tensor)) this.replaced.set(tensor, by);
  }

  /**
   * Has nodes that depend on initializers, or on what is placed so itself, come in the main graph before the first node that uses `value`,
   * itself or in a subgraph.
   */
  placeBeforeUses(nodes: readonly NodeProto[], value: string): void {
    this.placed.set(value, { nodes, turn: this.turns++ });
  }

  /** Makes the changes, and forgets them. */
  apply(model: ModelProto): void {
    const { before, behind, removed, replaced, placed } = this;
    if (before.size + behind.size + removed.size + replaced.size > 0)
      for (const graph of [...withSubgraphs(model.graph!)]) this.change(graph);
    const [missing] = [...before.keys(), ...behind.keys(), ...removed];
    if (missing) throw new Error(`the model has no node "${missing.name}"`);
    replaced.clear();
    if (placed.size > 0) this.place(model);
  }

  private change(graph: { node: NodeProto[]; initializer: TensorProto[] }): void {
    const { before, behind, removed, replaced } = this;
    const isConcerned = (node: NodeProto) => before.has(node) || behind.has(node) || removed.has(node);
    if (graph.node.some(isConcerned))
      graph.node = graph.node.flatMap((node) => {
        const changed = [before.get(node) ?? [], removed.has(node) ? [] : [node], behind.get(node) ?? []];
        for (const noted of [before, behind, removed]) noted.delete(node);
        return changed.flat();
      });
    if (graph.initializer.some((tensor) => replaced.has(tensor)))
      graph.initializer = graph.initializer.map((tensor) => replaced.get(tensor) ?? tensor);
  }

  private place({ graph }: ModelProto): void {
    const { placed } = this;
    const list: NodeProto[] = [];
    const put = (node: NodeProto) => {
      const needed = usedBy(node).flatMap((value) => {
        const found = placed.get(value);
        placed.delete(value);
        return found ?? [];
      });
      for (const { nodes } of needed.sort((a, b) => a.turn - b.turn)) nodes.forEach(put);
      list.push(node);
    };
    graph!.node.forEach(put);
    for (const [value, { nodes }] of placed) if (placed.delete(value)) nodes.forEach(put);
    graph!.node = list;
  }
}

/** Has the model import `com.microsoft`, onnxruntime's own operators. */
export function importMicrosoft(model: ModelProto): void {
  if (!model.opsetImport.some(({ domain }) => domain === 'com.microsoft'))
    model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }));
}
