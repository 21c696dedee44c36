import type { Graph } from '../../containers/onnx/graph';
import { type Shape, Shapes } from './shapes';
import { typeOf } from './types';

/** What rules may ask of the values of a graph. */
export class Known {
  readonly shapes: Shapes;

  constructor(readonly graph: Graph) {
    this.shapes = Shapes.of(graph);
  }

  /** The ONNX element type of a value. */
  typeOf(name: string): number {
    return typeOf(this.graph, name);
  }

  /** Dimensions; undefined where not even the rank is known. */
  shapeOf(name: string): Shape | undefined {
    return this.shapes.shapeOf(name);
  }

  rankOf(name: string): number | undefined {
    return this.shapeOf(name)?.length;
  }

  /** The numbers of a list of integers; undefined where they are not all known. */
  integersOf(name: string): number[] | undefined {
    const list = this.shapes.listOf(name);
    return list?.every((dim) => typeof dim === 'number') ? (list as number[]) : undefined;
  }
}
