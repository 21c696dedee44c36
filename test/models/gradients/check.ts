import { create } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import { gradientOf, type Gradient } from '../../../lib/models/gradients';
import { Graph } from '../../../lib/models/onnx/graph';
import { valueInfo } from '../../../lib/models/onnx/make';
import {
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type NodeProto,
  type TensorProto,
} from '../../../lib/models/onnx/onnx_pb';
import { shallowCopy } from '../../../lib/models/onnx/shallow-copy';
import { loadSession, runSession } from '../../../lib/models/runtime';
import type { TensorLike } from '../../../lib/types';
import { bytesOf, network, random } from '../networks';

/** Something whose gradients are compared with differences. */
export interface Case {
  /** What of the operator is tried. */
  name: string;
  nodes: NodeProto[];
  /** Dimensions by name: of floats around 0, or of what is given. */
  inputs: Record<string, number[] | { dims: number[]; data: number[] | bigint[] }>;
  constants?: TensorProto[];
  /** `y` by default. */
  outputs?: string[];
  /** All inputs of floats by default. */
  wanted?: string[];
  /** float64 by default; float32 where the runtime has no other kernel. */
  type?: 'float32' | 'float64';
  /** Of the differences. Where the operator is linear in each input, a large one loses less. */
  step?: number;
  /** Of the largest cotangent. */
  tolerance?: number;
  opset?: number;
}

type Floats = Float32Array | Float64Array;

export interface Run {
  gradient: Gradient;
  /** By wanted value. */
  computed: Map<string, Floats>;
  differences: Map<string, Floats>;
}

const domains = ['com.microsoft'];

/** Cotangents as computed by the gradient's nodes, and as differences of the part's own. */
export async function runCase(given: Case): Promise<Run> {
  const { nodes, constants = [], outputs = ['y'], type = 'float64', opset = 21 } = given;
  const [Values, dataType] =
    type === 'float64' ? [Float64Array, DataType.DOUBLE] : [Float32Array, DataType.FLOAT];
  const feeds: Record<string, TensorLike> = {};
  const floats: string[] = [];
  for (const [i, [name, input]] of Object.entries(given.inputs).entries()) {
    const [dims, data] = Array.isArray(input) ? [input, undefined] : [input.dims, input.data];
    const count = dims.reduce((a, b) => a * b, 1);
    if (data && typeof data[0] === 'bigint') {
      feeds[name] = { type: 'int64', dims, data: BigInt64Array.from(data as bigint[]) };
    } else {
      feeds[name] = { type, dims, data: Values.from((data as number[] | undefined) ?? random(count, i + 1)) };
      floats.push(name);
    }
  }
  const wanted = given.wanted ?? floats;
  const model = network({
    nodes,
    constants,
    // Of unknown dimensions.
    inputs: Object.entries(feeds).map(([name, { type }]) =>
      valueInfo(name, type === 'int64' ? DataType.INT64 : dataType),
    ),
    outputs: outputs.map((name) => create(ValueInfoProtoSchema, { name })),
    model: {
      irVersion: 10n,
      opsetImport: [
        { domain: '', version: BigInt(opset) },
        ...domains.map((domain) => ({ domain, version: 1n })),
      ],
    },
  });
  const graph = new Graph(model, given.name);
  const gradient = gradientOf({ graph, opset, nodes: graph.order, outputs, wanted, prefix: 'g/' });

  const forward = await sessionOf(model, outputs);
  const found = await runSession(forward, feeds, outputs, given.name);
  const weights = new Map(outputs.map((name, i) => [name, [...random(found[name]!.data.length, 100 + i)]]));
  const differences = new Map<string, Floats>();
  for (const name of wanted)
    if (feeds[name])
      differences.set(
        name,
        await differencesOf(
          name,
          feeds,
          given.step ?? (type === 'float64' ? 1e-4 : 1e-2),
          async (changed) => {
            const made = await runSession(forward, changed, outputs, given.name);
            return [...weights].reduce(
              (sum, [output, factors]) =>
                factors.reduce((part, factor, i) => part + factor * (made[output]!.data as Floats)[i]!, sum),
              0,
            );
          },
        ),
      );
  await forward.release();

  const computed = new Map<string, Floats>();
  if (gradient.results.size > 0) {
    const whole = shallowCopy(model);
    const body = shallowCopy(model.graph!);
    whole.graph = body;
    body.node = [...graph.order, ...gradient.nodes];
    body.initializer = [...body.initializer, ...gradient.constants];
    body.input = [...body.input];
    for (const [output, name] of gradient.cotangents) {
      body.input.push(valueInfo(name, dataType));
      feeds[name] = { type, dims: found[output]!.dims, data: Values.from(weights.get(output)!) };
    }
    const names = [...gradient.results.values()];
    const session = await sessionOf(whole, names);
    const made = await runSession(session, feeds, names, `gradient of ${given.name}`);
    for (const [value, name] of gradient.results) computed.set(value, made[name]!.data as Floats);
    await session.release();
  }
  return { gradient, computed, differences };
}

async function sessionOf(model: ReturnType<typeof network>, outputs: readonly string[]) {
  const own = shallowCopy(model);
  own.graph = shallowCopy(model.graph!);
  own.graph.output = outputs
    .map((name) => valueInfo(name, DataType.UNDEFINED))
    .map((info) => {
      delete (info as { type?: unknown }).type;
      return info;
    });
  return loadSession(bytesOf(own), 'a case', { threads: 1 });
}

/** Central differences of a scalar for each entry of an input. */
async function differencesOf(
  name: string,
  feeds: Readonly<Record<string, TensorLike>>,
  step: number,
  scalar: (feeds: Record<string, TensorLike>) => Promise<number>,
): Promise<Float64Array> {
  const own = feeds[name]!;
  const values = own.data as Floats;
  const slopes = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const at = async (shift: number) => {
      const data = values.slice();
      data[i] = values[i]! + shift;
      return [await scalar({ ...feeds, [name]: { ...own, data } }), data[i]!] as const;
    };
    const [[above, to], [below, from]] = [await at(step), await at(-step)];
    slopes[i] = (above - below) / (to - from);
  }
  return slopes;
}

/** Fails where a case's cotangents are not its differences. */
export async function check(t: ExecutionContext, given: Case): Promise<void> {
  const { gradient, computed, differences } = await runCase(given);
  const { tolerance = given.type === 'float32' ? 2e-3 : 1e-6 } = given;
  t.deepEqual(gradient.missing, [], given.name);
  for (const [name, expected] of differences) {
    const found = computed.get(name);
    if (!found) {
      t.fail(`${given.name}: no cotangent of ${name}`);
      continue;
    }
    t.is(found.length, expected.length, `${given.name}: ${name}`);
    const range = Math.max(1e-3, ...expected.map(Math.abs));
    const worst = Math.max(0, ...found.map((value, i) => Math.abs(value - expected[i]!)));
    t.true(
      worst <= tolerance * range,
      `${given.name}: ${name} off by ${worst} of ${range}: ${[...found].join(' ')}, differences ${[...expected].join(' ')}`,
    );
  }
}
