import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { InferenceSession } from 'onnxruntime-node';
import { gradientOf } from '../../../lib/models/gradients';
import { attributeOf, Graph } from '../../../lib/models/onnx/graph';
import { node, tensor, valueInfo } from '../../../lib/models/onnx/make';
import { opsetOf } from '../../../lib/models/onnx/opset';
import {
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type ModelProto,
} from '../../../lib/models/onnx/onnx_pb';
import { shallowCopy } from '../../../lib/models/onnx/shallow-copy';
import { runSession } from '../../../lib/models/runtime';
import type { TensorLike } from '../../../lib/types';
import type { OpenDecoder } from '../../../lib/decoders/open';
import { withDecoder } from '../../decoders/run';
import { cases, weightsIn } from '../../decoders/tiny';
import { bytesOf, floatsOf, random } from '../networks';

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

/** The same with something added to some values. */
function shifted(model: ModelProto, values: readonly string[]): ModelProto {
  const whole = shallowCopy(model);
  const body = (whole.graph = shallowCopy(model.graph!));
  body.node = model.graph!.node.flatMap((made) => {
    const own = made.output.filter((name) => values.includes(name));
    if (own.length === 0) return [made];
    const before = shallowCopy(made);
    before.output = made.output.map((name) => (own.includes(name) ? `${name}/before` : name));
    return [
      before,
      ...own.map((name) =>
        node('Add', [`${name}/before`, `${name}/shift`], [name], { name: `${name}/shifted` }),
      ),
    ];
  });
  body.input = [...body.input, ...values.map((name) => valueInfo(`${name}/shift`, DataType.DOUBLE))];
  return whole;
}

async function withSession<Result>(
  model: ModelProto,
  outputs: string[],
  use: (run: (feeds: Record<string, TensorLike>) => ReturnType<typeof runSession>) => Promise<Result>,
): Promise<Result> {
  const own = shallowCopy(model);
  own.graph = shallowCopy(model.graph!);
  own.graph.output = outputs.map((name) => create(ValueInfoProtoSchema, { name }));
  // Fused operators have no kernels in float64.
  const session = await InferenceSession.create(bytesOf(own), { graphOptimizationLevel: 'basic' });
  const result = await use((feeds) => runSession(session, feeds, outputs, 'a decoder'));
  await session.release();
  return result;
}

const doubles = (dims: readonly number[], values: Iterable<number>): TensorLike => ({
  type: 'float64',
  dims: [...dims],
  data: Float64Array.from(values),
});

const architectureOf = ({ config }: (typeof cases)[number]) => String(config['architectures']);
const perArchitecture = cases.filter(
  (golden, i) => cases.findIndex((other) => architectureOf(other) === architectureOf(golden)) === i,
);

for (const golden of perArchitecture)
  test(`cotangents of all products and blocks are what differences say: ${golden.name}`, (t) =>
    withDecoder({ ...golden, weights: weightsIn(golden) }, 12, async (decoder) => {
      const model = await inDoubles(decoder);
      const graph = new Graph(model, golden.name);
      const products = graph.order.filter(({ opType }) => opType === 'MatMul');
      const wanted = [...decoder.ends, ...products.map(({ output }) => output[0]!)];
      const gradient = gradientOf({
        ...{ graph, opset: opsetOf(model), nodes: graph.order, outputs: ['logits'], wanted, prefix: 'g/' },
      });
      t.deepEqual(gradient.missing, []);
      t.deepEqual([...gradient.results.keys()].sort(), [...wanted].sort());

      const ids = golden.ids.map((text) => BigInt64Array.from(text.slice(0, 5), BigInt));
      const feeds: Record<string, TensorLike> = {
        input_ids: {
          type: 'int64',
          dims: [2, 5],
          data: BigInt64Array.from(ids.flatMap((text) => [...text])),
        },
      };
      const shapes = new Map<string, readonly number[]>();
      let weighting: Float32Array = new Float32Array();
      const directions = new Map<string, Float32Array>();
      const difference = await withSession(shifted(model, wanted), ['logits', ...wanted], async (run) => {
        const at = (step: number | null) =>
          run({
            ...feeds,
            ...Object.fromEntries(
              wanted.map((name) => [
                `${name}/shift`,
                step === null
                  ? doubles([], [0])
                  : doubles(
                      shapes.get(name)!,
                      directions.get(name)!.map((v) => v * step),
                    ),
              ]),
            ),
          });
        const values = await at(null);
        for (const name of ['logits', ...wanted]) shapes.set(name, values[name]!.dims);
        for (const [i, name] of wanted.entries()) directions.set(name, random(values[name]!.data.length, i));
        weighting = random(values['logits']!.data.length, 7);
        const scalarAt = async (step: number) => {
          const { logits } = await at(step);
          return (logits!.data as Float64Array).reduce((sum, value, i) => sum + value * weighting[i]!, 0);
        };
        const step = 2 ** -20;
        return ((await scalarAt(step)) - (await scalarAt(-step))) / (2 * step);
      });

      const whole = shallowCopy(model);
      const body = (whole.graph = shallowCopy(model.graph!));
      body.node = [...graph.order, ...gradient.nodes];
      body.initializer = [...body.initializer, ...gradient.constants];
      const carrier = gradient.cotangents.get('logits')!;
      body.input = [...body.input, valueInfo(carrier, DataType.DOUBLE)];
      const cotangents = await withSession(whole, [...gradient.results.values()], (run) =>
        run({ ...feeds, [carrier]: doubles(shapes.get('logits')!, weighting) }),
      );

      let [slope, size] = [0, 0];
      for (const [name, direction] of directions) {
        const own = cotangents[gradient.results.get(name)!]!.data as Float64Array;
        t.is(own.length, direction.length, name);
        for (const [i, value] of own.entries()) {
          slope += value * direction[i]!;
          size += (value * direction[i]!) ** 2;
        }
      }
      const range = Math.sqrt(size);
      t.true(Math.abs(slope - difference) < 1e-6 * range, `${slope}, differences ${difference}, of ${range}`);
    }));
