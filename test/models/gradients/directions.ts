import { create } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import { InferenceSession } from 'onnxruntime-node';
import { gradientOf } from '../../../lib/models/gradients';
import { Graph } from '../../../lib/containers/onnx/graph';
import { node, valueInfo } from '../../../lib/containers/onnx/make';
import { opsetOf } from '../../../lib/containers/onnx/opset';
import {
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type ModelProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { shallowCopy } from '../../../lib/containers/onnx/shallow-copy';
import { runSession } from '../../../lib/models/runtime';
import type { TensorLike } from '../../../lib/types';
import { bytesOf, random } from '../networks';

/** The same with something added to some values. */
function shifted(model: ModelProto, values: readonly string[], type: DataType): ModelProto {
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
  body.input = [...body.input, ...values.map((name) => valueInfo(`${name}/shift`, type))];
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

interface Try {
  model: ModelProto;
  feeds: Readonly<Record<string, TensorLike>>;
  outputs: string[];
  /** Values made by nodes. */
  wanted: string[];
  /** float64 by default. */
  isSingle?: boolean;
  step?: number;
  /** Of the length of the vector of all products of a cotangent and its direction. */
  tolerance?: number;
}

/**
 * Fails where cotangents of a whole network, times a random direction of all that is wanted at once, are not the difference of a
 * random sum of its outputs.
 */
export async function checkDirections(
  t: ExecutionContext,
  { model, feeds, outputs, wanted, isSingle = false, step = 2 ** -20, tolerance = 1e-6 }: Try,
): Promise<void> {
  type Floats = Float32Array | Float64Array;
  const [type, dataType] = isSingle
    ? (['float32', DataType.FLOAT] as const)
    : (['float64', DataType.DOUBLE] as const);
  const floats = (dims: readonly number[], values: Iterable<number>): TensorLike => ({
    ...{ type, dims: [...dims] },
    data: isSingle ? Float32Array.from(values) : Float64Array.from(values),
  });
  const graph = new Graph(model, 'a network');
  const gradient = gradientOf({
    ...{ graph, opset: opsetOf(model), nodes: graph.order, outputs, wanted, prefix: 'g/' },
  });
  t.deepEqual(gradient.missing, []);
  t.deepEqual([...gradient.results.keys()].sort(), [...wanted].sort());

  const shapes = new Map<string, readonly number[]>();
  const weighting = new Map<string, Float32Array>();
  const directions = new Map<string, Float32Array>();
  const all = [...new Set([...outputs, ...wanted])];
  const difference = await withSession(shifted(model, wanted, dataType), all, async (run) => {
    const at = (shift: (name: string) => TensorLike) =>
      run({ ...feeds, ...Object.fromEntries(wanted.map((name) => [`${name}/shift`, shift(name)])) });
    const values = await at(() => floats([], [0]));
    for (const name of all) shapes.set(name, values[name]!.dims);
    for (const [i, name] of wanted.entries()) directions.set(name, random(values[name]!.data.length, i));
    for (const [i, name] of outputs.entries()) weighting.set(name, random(values[name]!.data.length, 70 + i));
    const scalarAt = async (step: number) => {
      const made = await at((name) =>
        floats(
          shapes.get(name)!,
          directions.get(name)!.map((value) => value * step),
        ),
      );
      let sum = 0;
      for (const [name, factors] of weighting)
        for (const [i, factor] of factors.entries()) sum += factor * (made[name]!.data as Floats)[i]!;
      return sum;
    };
    return ((await scalarAt(step)) - (await scalarAt(-step))) / (2 * step);
  });

  const whole = shallowCopy(model);
  const body = (whole.graph = shallowCopy(model.graph!));
  body.node = [...graph.order, ...gradient.nodes];
  body.initializer = [...body.initializer, ...gradient.constants];
  body.input = [...body.input, ...[...gradient.cotangents.values()].map((name) => valueInfo(name, dataType))];
  const given = [...gradient.cotangents].map(([output, name]) => [
    name,
    floats(shapes.get(output)!, weighting.get(output)!),
  ]);
  const cotangents = await withSession(whole, [...gradient.results.values()], (run) =>
    run({ ...feeds, ...(Object.fromEntries(given) as typeof feeds) }),
  );
  let [slope, size] = [0, 0];
  for (const [name, direction] of directions) {
    const own = cotangents[gradient.results.get(name)!]!.data as Floats;
    t.is(own.length, direction.length, name);
    for (const [i, value] of own.entries()) {
      slope += value * direction[i]!;
      size += (value * direction[i]!) ** 2;
    }
  }
  const range = Math.sqrt(size);
  t.true(
    Math.abs(slope - difference) < tolerance * range,
    `${slope}, differences ${difference}, of ${range}`,
  );
}
