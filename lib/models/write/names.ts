import { namesOf } from '../onnx/graph';
import type { ModelProto } from '../onnx/onnx_pb';

/** Names that nothing in a model has yet. */
export class Names {
  private readonly taken: Set<string>;

  constructor(model: ModelProto) {
    this.taken = namesOf(model.graph!);
  }

  unused(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.taken.has(name); i++) name = `${wanted}_${i}`;
    this.taken.add(name);
    return name;
  }
}
