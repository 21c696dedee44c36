import { namesOf } from '../../containers/onnx/graph';
import type { ModelProto } from '../../containers/onnx/onnx_pb';

/** Names that nothing in a model has yet. */
export class Names {
  private readonly taken: Set<string>;

  constructor(model: ModelProto) {
    this.taken = namesOf(model.graph!);
  }

  /** How often each was wanted: very many may want one. */
  private readonly wanted = new Map<string, number>();

  unused(wanted: string): string {
    let name = wanted;
    let i = this.wanted.get(wanted) ?? 0;
    while (this.taken.has(name)) name = `${wanted}_${++i}`;
    this.wanted.set(wanted, i);
    this.taken.add(name);
    return name;
  }
}
