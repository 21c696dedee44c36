import { node, tensor } from '../../containers/onnx/make';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import type { Names } from './names';

type Step = (input: string, output: string) => NodeProto;

/** Nodes that each take what the one before gives. */
export class Steps {
  /** Initializers that the nodes need. */
  readonly tensors: TensorProto[] = [];
  private readonly steps: Step[] = [];

  /** `base`: what the nodes' names begin with; `opset`: the model's, of the standard operators. */
  constructor(
    private readonly names: Names,
    private readonly base: string,
    private readonly opset: number,
  ) {}

  add(step: Step): void {
    this.steps.push(step);
  }

  /** A node that has no other inputs. */
  addNode(opType: string, attributes: NonNullable<Parameters<typeof node>[3]>['attributes'] = {}): void {
    const name = this.names.unused(`${this.base}_${opType.toLowerCase()}`);
    this.add((input, output) => node(opType, [input], [output], { name, attributes }));
  }

  transpose(perm: readonly number[]): void {
    this.addNode('Transpose', { perm: perm.map(BigInt) });
  }

  reshape(dims: readonly number[]): void {
    if (this.opset < 5) {
      this.addNode('Reshape', { shape: dims.map(BigInt) });
      return;
    }
    const name = this.names.unused(`${this.base}_reshape`);
    const shape = this.constant(`${this.base}_shape`, [dims.length], BigInt64Array.from(dims, BigInt));
    this.add((input, output) => node('Reshape', [input, shape], [output], { name }));
  }

  /** The first `end` elements along an axis. */
  keep(end: number, axis: number): void {
    if (this.opset < 10) {
      this.addNode('Slice', { starts: [0n], ends: [BigInt(end)], axes: [BigInt(axis)] });
      return;
    }
    const name = this.names.unused(`${this.base}_slice`);
    const bounds = [0, end, axis].map((bound, i) =>
      this.constant(`${this.base}_${['start', 'end', 'axis'][i]}`, [1], BigInt64Array.of(BigInt(bound))),
    );
    this.add((input, output) => node('Slice', [input, ...bounds], [output], { name }));
  }

  /** An initializer for the nodes; returns its name. */
  constant(name: string, dims: readonly number[], data: Parameters<typeof tensor>[2]): string {
    const unused = this.names.unused(name);
    this.tensors.push(tensor(unused, dims, data));
    return unused;
  }

  /** The nodes, from the value `input` to the value `output`; there must be a step. */
  nodes(input: string, output: string): NodeProto[] {
    let value = input;
    return this.steps.map((step, i) => {
      const result = i === this.steps.length - 1 ? output : this.names.unused(`${output}_${i}`);
      const made = step(value, result);
      value = result;
      return made;
    });
  }

  get length(): number {
    return this.steps.length;
  }
}
