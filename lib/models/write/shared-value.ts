import type { Layer } from '../layers/layer';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import { Steps } from './steps';
import type { Wiring } from './stored-weight';
import { turn, type View, viewOf } from './view';

/** A weight's values as a value of the graph: one of its initializers, or what nodes make of these. */
export class SharedValue {
  private readonly turned = new Map<string, { name: string; nodes: NodeProto[] }>();

  /** `nodes` make the value `name` from initializers; they are put into the graph where it is first used. */
  constructor(
    private readonly name: string,
    private readonly view: View,
    private readonly nodes: NodeProto[],
  ) {}

  /** Has a layer's node use the value. Where it sees the weight otherwise than `view`, it gets the value turned. */
  wire(layer: Layer, { model, names, edits }: Wiring): void {
    const view = viewOf(layer);
    const key = JSON.stringify([view.order, view.groups, view.dims, view.dataType]);
    let seen = this.turned.get(key);
    if (!seen) {
      const steps = new Steps(names, this.name, opsetOf(model));
      turn(this.view, view, steps);
      model.graph!.initializer.push(...steps.tensors);
      const name = steps.length === 0 ? this.name : names.unused(`${this.name}_turned`);
      seen = { name, nodes: steps.nodes(this.name, name) };
      this.turned.set(key, seen);
    }
    layer.node.input[layer.weightIndex] = seen.name;
    if (seen.nodes.length > 0) edits.placeBeforeUses(seen.nodes, seen.name);
    if (this.nodes.length > 0) edits.placeBeforeUses(this.nodes, this.name);
  }
}
