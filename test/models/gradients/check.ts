import { create } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import { gradientOf, type Gradient } from '../../../lib/models/gradients';
import { Graph } from '../../../lib/containers/onnx/graph';
import { valueInfo } from '../../../lib/containers/onnx/make';
import {
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type NodeProto,
  type TensorProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { loadSession, runSession } from '../../../lib/models/runtime';
import type { TensorLike } from '../../../lib/types';
import { bytesOf, network, random } from '../networks';

/** Something whose gradients are compared with differences. */
export interface Case {
  /** What of the operator is tried. */
  name: string;
  nodes: NodeProto[];
  /** Dimensions by name: of floats around 0, or of what is given. */
  inputs: Record<string, number[] | { dims: number[]; data: number[] | BigInt64Array }>;
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
  /** What must be known of the inputs' dimensions, or the node is missing. */
  needs?: 'ranks' | 'sizes';
  /** What is not tried: without ranks vectors are taken for matrices, which the runtime refuses. */
  isRankKnown?: boolean;
}

/** Values of attributes. */
export type Simple = bigint | number | string | bigint[];

type Floats = Float32Array | Float64Array;

export interface Run {
  known: (typeof knowledge)[number];
  gradient: Gradient;
  /** By wanted value. */
  computed: Map<string, Floats>;
  differences: Map<string, Floats>;
}

const domains = ['com.microsoft'];

/** How much of the inputs' dimensions a graph says. */
const knowledge = ['nothing', 'ranks', 'sizes'] as const;

/** Cotangents as computed by the gradient's nodes, for each of what may be known, and as differences of the part's own. */
export async function runCase(given: Case): Promise<Run[]> {
  const { outputs = ['y'], type = 'float64', step = type === 'float64' ? 1e-4 : 1e-2 } = given;
  const Values = type === 'float64' ? Float64Array : Float32Array;
  const feeds: Record<string, TensorLike> = {};
  for (const [i, [name, input]] of Object.entries(given.inputs).entries()) {
    const [dims, data] = Array.isArray(input) ? [input, undefined] : [input.dims, input.data];
    const count = dims.reduce((a, b) => a * b, 1);
    feeds[name] =
      data instanceof BigInt64Array
        ? { type: 'int64', dims, data }
        : { type, dims, data: Values.from(data ?? random(count, i + 1)) };
  }
  const floats = Object.keys(feeds).filter((name) => feeds[name]!.type === type);
  const wanted = given.wanted ?? floats;

  const model = modelOf(given, feeds, 'nothing');
  const forward = await sessionOf(model, outputs);
  const run = async (changed: Record<string, TensorLike>) =>
    runSession(forward, changed, outputs, given.name);
  const found = await run(feeds);
  const weights = new Map(outputs.map((name, i) => [name, [...random(found[name]!.data.length, 100 + i)]]));
  const scalar = async (changed: Record<string, TensorLike>) => {
    const made = await run(changed);
    return [...weights].reduce(
      (sum, [name, factors]) =>
        factors.reduce((part, factor, i) => part + factor * (made[name]!.data as Floats)[i]!, sum),
      0,
    );
  };
  const differences = new Map<string, Floats>();
  for (const name of wanted)
    if (feeds[name]) differences.set(name, await differencesOf(name, feeds, step, scalar));
  await forward.release();

  const runs: Run[] = [];
  for (const known of knowledge) {
    if (given.isRankKnown && known === 'nothing') continue;
    const whole = modelOf(given, feeds, known);
    const graph = new Graph(whole, given.name);
    const { opset = 21 } = given;
    const gradient = gradientOf({ graph, opset, nodes: graph.order, outputs, wanted, prefix: 'g/' });
    const computed = new Map<string, Floats>();
    runs.push({ known, gradient, computed, differences });
    const names = [...gradient.results.values()];
    if (names.length === 0) continue;
    const body = whole.graph!;
    body.node = [...graph.order, ...gradient.nodes];
    body.initializer.push(...gradient.constants);
    const all = { ...feeds };
    for (const [output, name] of gradient.cotangents) {
      body.input.push(valueInfo(name, dataTypes[type]));
      all[name] = { type, dims: found[output]!.dims, data: Values.from(weights.get(output)!) };
    }
    const session = await sessionOf(whole, names);
    const made = await runSession(session, all, names, `gradient of ${given.name}`);
    for (const [value, name] of gradient.results) computed.set(value, made[name]!.data as Floats);
    await session.release();
  }
  return runs;
}

const dataTypes = { int64: DataType.INT64, float32: DataType.FLOAT, float64: DataType.DOUBLE };

function modelOf(
  { nodes, constants = [], opset = 21 }: Case,
  feeds: Readonly<Record<string, TensorLike>>,
  known: Run['known'],
) {
  return network({
    nodes: [...nodes],
    constants: [...constants],
    inputs: Object.entries(feeds).map(([name, { type, dims }]) =>
      valueInfo(
        name,
        dataTypes[type as keyof typeof dataTypes],
        known === 'nothing'
          ? undefined
          : dims.map((dim, axis) => (known === 'ranks' ? `${name}${axis}` : dim)),
      ),
    ),
    outputs: [],
    model: {
      irVersion: 10n,
      opsetImport: [
        { domain: '', version: BigInt(opset) },
        ...domains.map((domain) => ({ domain, version: 1n })),
      ],
    },
  });
}

async function sessionOf(model: ReturnType<typeof network>, outputs: readonly string[]) {
  // The runtime infers their types.
  model.graph!.output = outputs.map((name) => create(ValueInfoProtoSchema, { name }));
  return loadSession(bytesOf(model), 'a case', { threads: 1 });
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
  const { tolerance = given.type === 'float32' ? 2e-3 : 1e-6, needs = 'nothing' } = given;
  for (const { known, gradient, computed, differences } of await runCase(given)) {
    const told = (name: string) => `${given.name}: ${name}, ${known} known`;
    if (knowledge.indexOf(known) < knowledge.indexOf(needs)) {
      t.is(gradient.missing.length, 1, told('missing'));
      continue;
    }
    t.deepEqual(gradient.missing, [], told('missing'));
    for (const [name, expected] of differences) {
      const found = computed.get(name);
      if (!found) {
        t.fail(`${told(name)}: no cotangent`);
        continue;
      }
      t.is(found.length, expected.length, told(name));
      const range = Math.max(1e-3, ...expected.map(Math.abs));
      const worst = Math.max(0, ...found.map((value, i) => Math.abs(value - expected[i]!)));
      t.true(
        worst <= tolerance * range,
        `${told(name)}: off by ${worst} of ${range}: ${[...found].join(' ')}, differences ${[...expected].join(' ')}`,
      );
    }
  }
}
