import { create } from '@bufbuild/protobuf';
import test from 'ava';
import type { OpenDecoder } from '../../../lib/decoders/open';
import { attributeOf } from '../../../lib/containers/onnx/graph';
import { tensor } from '../../../lib/containers/onnx/make';
import {
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type ModelProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { shallowCopy } from '../../../lib/containers/onnx/shallow-copy';
import type { TensorLike } from '../../../lib/types';
import { withDecoder } from '../../decoders/run';
import { cases, weightsIn } from '../../decoders/tiny';
import { floatsOf } from '../networks';
import { checkDirections } from './directions';

/** The same network in float64. */
async function inDoubles({ model, graph, weights }: OpenDecoder): Promise<ModelProto> {
  const whole = shallowCopy(model);
  whole.graph = await weights.inlinedGraph(graph.proto);
  const body = (whole.graph = shallowCopy(whole.graph));
  body.initializer = body.initializer.map((constant) =>
    constant.dataType === DataType.FLOAT
      ? tensor(constant.name, constant.dims.map(Number), Float64Array.from(floatsOf(constant)))
      : constant,
  );
  for (const cast of body.node.filter(({ opType }) => opType === 'Cast')) {
    const to = attributeOf(cast, 'to')!;
    if (to.i === BigInt(DataType.FLOAT)) to.i = BigInt(DataType.DOUBLE);
  }
  body.output = body.output.map(({ name }) => create(ValueInfoProtoSchema, { name }));
  return whole;
}

const architectureOf = ({ config }: (typeof cases)[number]) => String(config['architectures']);
const perArchitecture = cases.filter(
  (golden, i) => cases.findIndex((other) => architectureOf(other) === architectureOf(golden)) === i,
);

for (const golden of perArchitecture)
  test(`cotangents of all products and blocks are what differences say: ${golden.name}`, (t) =>
    withDecoder({ ...golden, weights: weightsIn(golden) }, 12, async (decoder) => {
      const model = await inDoubles(decoder);
      const products = model.graph!.node.filter(({ opType }) => opType === 'MatMul');
      const wanted = [...decoder.ends, ...products.map(({ output }) => output[0]!)];
      const feeds: Record<string, TensorLike> = {
        input_ids: {
          type: 'int64',
          dims: [2, 5],
          data: BigInt64Array.from(
            golden.ids.flatMap((text) => text.slice(0, 5)),
            BigInt,
          ),
        },
      };
      await checkDirections(t, { model, feeds, outputs: ['logits'], wanted });
    }));
