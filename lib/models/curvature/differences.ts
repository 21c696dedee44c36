import type { TensorLike } from '../../types';
import type { Layer } from '../layers/layer';
import { runtimeNameOf } from '../../containers/onnx/element-types';
import type { Graph } from '../../containers/onnx/graph';
import { node, tensor } from '../../containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import { shallowCopy } from '../../containers/onnx/shallow-copy';
import { typeOf } from '../gradients/types';
import type { Feeds } from '../types';
import { mask } from './answers';
import type { Asked } from './asked';
import type { Substitutes } from './part-networks';
import type { Differing, Question, Taken } from './question';

/**
 * Asks a network how far its outputs are from the float one's, and each of its layers what part it has in that: the derivative of the KL divergence D(p ‖ q) of a row of logits,
 * half of that of the squared error of other outputs, along the way from the layer's float weight to the one that it has. What is sent back are the derivatives by the outputs: q − p, and the difference.
 * One number a layer and sample of a batch, as far as outputs of layers have these along their first axis (a weight on the left: their last).
 */
export class Differences implements Question {
  private readonly rows = new Map<string, number>();

  constructor(
    readonly floats: Substitutes,
    private readonly feeds: readonly Feeds[],
  ) {}

  differing(asked: readonly Asked[], graph: Graph, prefix: string): Differing {
    const differing: Differing = { nodes: [], inputs: [], outputs: [] };
    for (const { value, kind } of asked) {
      const at = (name: string) => `${prefix}beside/${name}/${value}`;
      const type = typeOf(graph, value);
      const sides = [value, at('float')].map((name, i) => {
        const wide = at(`wide/${i}`);
        differing.nodes.push(cast(name, wide, DataType.FLOAT));
        if (kind !== 'logits') return wide;
        const shares = at(`shares/${i}`);
        differing.nodes.push(node('Softmax', [wide], [shares], { attributes: { axis: -1n } }));
        return shares;
      });
      differing.nodes.push(
        node('Sub', sides, [at('difference')]),
        cast(at('difference'), at('result'), type),
      );
      differing.inputs.push({ name: at('float'), type: runtimeNameOf(type) });
      differing.outputs.push(at('result'));
    }
    return differing;
  }

  drawsOf(): number {
    return 1;
  }

  begin(): void {}

  cotangents({ value }: Asked, output: TensorLike, _draw: number, batch: number): Promise<TensorLike> {
    const { dims } = output;
    const rows = dims.slice(0, -1).reduce((product, dim) => product * dim, 1);
    this.rows.set(value, this.rowsOf(value) + rows);
    mask(output.data as Float32Array, dims, this.feeds[batch]!);
    return Promise.resolve(output);
  }

  rowsOf(value: string): number {
    return this.rows.get(value) ?? 0;
  }

  /** The products of the cotangent with what the layer gives beyond what it would give with its own weight. */
  taken(layer: Layer, cotangent: string, prefix: string): Taken {
    const at = (name: string) => `${prefix}part/${layer.name}/${name}`;
    const value = layer.node.output[0]!;
    const before = shallowCopy(layer.node);
    const { index, tensor: float } = this.floats.get(layer.node)!.find((own) => own.index === layer.weightIndex)!; // prettier-ignore
    before.input = layer.node.input.map((name, i) => (i === index ? float.name : name));
    const isLeft = layer.weightIndex === 0 && layer.input!.rows.kind === 'axis';
    const axes = tensor(at('axes'), [1], BigInt64Array.of(isLeft ? 0n : 1n));
    before.output = layer.node.output.map((name, i) => name && at(`before/${i}`));
    before.name = at('before');
    return {
      nodes: [
        before,
        node('Sub', [value, before.output[0]!], [at('change')]),
        cast(at('change'), at('change/wide'), DataType.FLOAT),
        cast(cotangent, at('cotangent'), DataType.FLOAT),
        node('Mul', [at('change/wide'), at('cotangent')], [at('products')]),
        node('Flatten', [at('products')], [at('flat')], { attributes: { axis: isLeft ? -1n : 1n } }),
        node('ReduceSum', [at('flat'), at('axes')], [at('sum')], { attributes: { keepdims: 0n } }),
      ],
      ...{ constants: [float, axes], result: at('sum'), channels: 1 },
    };
  }
}

const cast = (from: string, to: string, type: DataType) =>
  node('Cast', [from], [to], { attributes: { to: BigInt(type) } });
