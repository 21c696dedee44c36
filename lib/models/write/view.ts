import { VertexqError } from '../../errors';
import type { Layer } from '../layers/layer';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import type { Steps } from './steps';

/** The form in which a node sees a weight. */
export interface View extends Pick<Layer, 'order' | 'outFeatures' | 'inFeatures' | 'groups'> {
  dims: readonly number[];
  /** Of the elements. */
  dataType: number;
}

/** The form in which a layer's node sees its weight. */
export function viewOf({ constant, order, outFeatures, inFeatures, groups }: Layer): View {
  const { dims, dataType } = constant;
  return { dims, dataType, order, outFeatures, inFeatures, groups };
}

/** The name that what belongs to a layer's weight begins with. */
export function weightName({ constant, node, weightIndex }: Layer): string {
  return constant.tensor.name || node.input[weightIndex]!;
}

/** Whether weights are float16. Throws ERR_VERTEXQ_FORMAT where they are neither that nor float32. */
export function isHalf({ dataType }: View): boolean {
  if (dataType !== DataType.FLOAT && dataType !== DataType.FLOAT16)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `its weights are ${DataType[dataType] ?? `of type ${dataType}`}, and few bits can stand only for FLOAT and FLOAT16: use the format "float", or skip the layer`,
    );
  return dataType === DataType.FLOAT16;
}

/** The shape that shows what a view's dimensions split: [outFeatures, inFeatures], or [groups, inFeatures, outFeatures / groups]. */
export function plainDims({ order, outFeatures, inFeatures, groups }: View): number[] {
  if (order === 'neuron-major') return [outFeatures, inFeatures];
  return groups === 1 ? [inFeatures, outFeatures] : [groups, inFeatures, outFeatures / groups];
}

/** Adds the steps from one view of a weight to another one. */
export function turn(from: View, to: View, steps: Steps): void {
  let { dims } = from;
  const reshape = (wanted: readonly number[]) => {
    if (wanted.join() !== dims.join()) steps.reshape(wanted);
    dims = wanted;
  };
  const transpose = (perm: readonly number[]) => {
    steps.transpose(perm);
    dims = perm.map((axis) => dims[axis]!);
  };
  if (from.order !== to.order || from.groups !== to.groups) {
    for (const [view, back] of [
      [from, true],
      [to, false],
    ] as const) {
      const { order, outFeatures, inFeatures, groups } = view;
      if (order === 'neuron-major') continue;
      // Both ways exchange the last two of these.
      const split = back
        ? plainDims(view)
        : [...(groups > 1 ? [groups] : []), outFeatures / groups, inFeatures];
      reshape(split);
      transpose(groups > 1 ? [0, 2, 1] : [1, 0]);
    }
  }
  reshape(to.dims);
  if (from.dataType !== to.dataType) steps.addNode('Cast', { to: BigInt(to.dataType) });
}
