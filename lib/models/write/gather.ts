import type { Layer } from '../layers/layer';
import { intAttribute, isStandard } from '../../containers/onnx/graph';
import { node } from '../../containers/onnx/make';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import type { PackedTensors } from './packed';
import { Steps } from './steps';
import type { Wiring } from './stored-weight';
import { viewOf } from './view';

/** Whether a layer's node is a Gather of whole rows of a table, which GatherBlockQuantized can take over. */
export function isLookup(layer: Layer): boolean {
  const { node: gather, weightIndex } = layer;
  const { dims, order } = viewOf(layer);
  return (
    isStandard(gather) &&
    gather.opType === 'Gather' &&
    weightIndex === 0 &&
    dims.length === 2 &&
    order === 'neuron-major' &&
    [0, -2].includes(intAttribute(gather, 'axis', 0))
  );
}

/** Puts a GatherBlockQuantized in place of a Gather, and returns it. It takes the codes as [outFeatures, bytes of a neuron]. */
export function lookUp(packed: PackedTensors, layer: Layer, { model, names, edits }: Wiring): NodeProto {
  const { node: gather } = layer;
  const output = gather.output[0]!;
  const base = gather.name || output;
  const { bits, blockSize, blocks, inFeatures, codes, scales, zeroPoints } = packed;
  const steps = new Steps(names, base, opsetOf(model));
  steps.add((indices, result) =>
    node(
      'GatherBlockQuantized',
      [codes.name, indices, scales.name, ...(zeroPoints ? [zeroPoints.name] : [])],
      [result],
      {
        name: names.unused(`${base}_Q${bits}`),
        domain: 'com.microsoft',
        attributes: {
          gather_axis: 0n,
          quantize_axis: 1n,
          block_size: BigInt(blockSize),
          bits: BigInt(bits),
        },
      },
    ),
  );
  // It gives out what fills the last block, too.
  if (blocks * blockSize > inFeatures) steps.keep(inFeatures, -1);
  model.graph!.initializer.push(...steps.tensors);
  const nodes = steps.nodes(gather.input[1]!, output);
  edits.insertBefore(gather, nodes);
  edits.remove(gather);
  return nodes[0]!;
}
