import { attributeOf, intAttribute } from '../../containers/onnx/graph';
import { node, tensor } from '../../containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import type { Layer } from '../layers/layer';
import type { Taken } from './question';

/** Why the products of a layer's rows are no value of the graph; undefined where its first output is what they give, but for a bias and a factor. */
export function hiddenProducts({ node: { opType, attribute } }: Layer): string | undefined {
  if (['LSTM', 'GRU', 'RNN'].includes(opType)) return `the products are inside of its ${opType}`;
  if (opType === 'Attention') return 'the products are inside of its Attention';
  if (opType.startsWith('Fused') && attribute.some(({ name }) => name === 'activation'))
    return 'its node holds an activation too';
  if (opType === 'ConvTranspose')
    for (const { name, s, ints } of attribute)
      if (ints.length > 0 ? name === 'output_shape' : name === 'auto_pad' && !/^(NOTSET)?$/.test(text(s)))
        return `its padding follows from "${name}"`;
  return undefined;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Sums of the squares of a layer's cotangent over its output channels, row by row of what the layer sees. */
export function rowSquares(layer: Layer, cotangent: string, prefix: string): Taken {
  const { node: own, weightIndex, input } = layer;
  const { opType } = own;
  const at = (name: string) => `${prefix}rows/${layer.name}/${name}`;
  const wide = node('Cast', [cotangent], [at('wide')], { attributes: { to: BigInt(DataType.FLOAT) } });
  const squares = node('Mul', [at('wide'), at('wide')], [at('squares')]);
  const isTransposed = opType === 'ConvTranspose';
  const channels = isTransposed ? layer.outFeatures / intAttribute(own, 'group', 1) : layer.outFeatures;
  const isConv = input!.rows.kind === 'patches' || isTransposed;
  // A weight on the left makes columns of outputs.
  const axis = isConv ? 1 : weightIndex === 0 ? -2 : -1;
  const axes = tensor(at('axes'), [1], BigInt64Array.of(BigInt(axis)));
  const sum = node('ReduceSum', [at('squares'), at('axes')], [at('sum')], {
    attributes: { keepdims: isTransposed ? 1n : 0n },
  });
  if (!isTransposed)
    return {
      ...{ nodes: [wide, squares, sum], constants: [axes] },
      ...{ result: at('sum'), channels, cotangent: at('wide') },
    };
  // A row's products are added to a patch of the output: it sees all of that.
  const kernel = layer.constant.dims.slice(2);
  const size = kernel.reduce((product, length) => product * length, 1);
  const ones = tensor(at('ones'), [1, 1, ...kernel], new Float32Array(size).fill(1));
  const attributes = Object.fromEntries(
    ['strides', 'dilations', 'pads'].flatMap((name) => {
      const given = attributeOf(own, name);
      return given ? [[name, given.ints]] : [];
    }),
  );
  const patches = node('Conv', [at('sum'), at('ones')], [at('patches')], { attributes });
  return { nodes: [wide, squares, sum, patches], constants: [axes, ones], result: at('patches'), channels };
}
