import { VertexqError } from '../../errors';
import type { TensorLike } from '../../types';
import type { Layer } from '../layers/layer';
import { unusedPrefix, usedBy } from '../../containers/onnx/graph';
import { node } from '../../containers/onnx/make';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import type { OpenModel } from '../open-model';
import type { Feeds } from '../types';
import { loadStage } from './stage-network';
import { type GraphStage, stagesOf, valuesOfOtherKinds } from './stages';

/** The most that a network's values take at once. */
export interface AliveValues {
  /** Four a number, whatever its type. */
  bytes: number;
  /** A value that is there then. */
  at: string;
}

/**
 * Runs a network on one feed, as far as its layers need and stage by stage, and tells how much of it is there at once. What it computes
 * goes as soon as it is used: only shapes come out. Values of branches and bodies are not counted. Where the network does not run,
 * nothing is known (0): the run itself will tell why.
 */
export async function aliveValues(
  opened: OpenModel,
  layers: readonly Layer[],
  feeds: Feeds,
  signal: AbortSignal | undefined,
): Promise<AliveValues> {
  const { graph } = opened;
  const values = new Map<string, TensorLike>(Object.entries(feeds));
  const others = valuesOfOtherKinds(graph);
  const prefix = unusedPrefix(opened.model.graph!, 'shape/');
  let most: AliveValues = { bytes: 0, at: '' };
  try {
    for (const stage of stagesOf(graph, layers)) {
      signal?.throwIfAborted();
      const numbers = await numbersIn(opened, stage, values, others, prefix);
      const found = mostIn(stage, numbers);
      if (found.bytes > most.bytes) most = found;
      for (const name of stage.last) values.delete(name);
    }
  } catch (error) {
    if (error instanceof VertexqError && error.code !== 'ERR_VERTEXQ_MEMORY') return { bytes: 0, at: '' };
    throw error;
  }
  return most;
}

const count = (dims: ArrayLike<number | bigint>) =>
  Array.from(dims).reduce<number>((product, dim) => product * Number(dim), 1);

/** How many numbers each value of a stage has; those that later stages need are put into `values`. `prefix`: of names that nothing has. */
async function numbersIn(
  opened: OpenModel,
  stage: GraphStage,
  values: Map<string, TensorLike>,
  others: ReadonlySet<string>,
  prefix: string,
): Promise<Map<string, number>> {
  const inputs = stage.inputs.map((name) => ({ name, value: values.get(name) }));
  const numbers = new Map(inputs.map(({ name, value }) => [name, count(value?.dims ?? [])]));
  const made = stage.nodes.flatMap(({ output }) => output.filter((name) => name !== '' && !others.has(name)));
  if (made.length === 0) return numbers;
  const shapes = made.map((name, i) => node('Shape', [name], [`${prefix}${i}`]));
  const outputs = [...stage.kept, ...shapes.map(({ output }) => output[0]!)];
  const session = await loadStage(
    {
      ...opened,
      nodes: [...stage.nodes, ...shapes],
      inputs: inputs.flatMap(({ name, value }) => (value?.type ? [{ name, type: value.type }] : [])),
      outputs,
      substitutes: new Map(),
    },
    `the network up to "${stage.target}"`,
  );
  try {
    const results = await session.run(feedsOf(stage.inputs, values), outputs);
    for (const name of stage.kept) values.set(name, results[name]!);
    for (const [i, name] of made.entries())
      numbers.set(name, count(results[`${prefix}${i}`]!.data as BigInt64Array));
  } finally {
    await session.release();
  }
  return numbers;
}

const feedsOf = (names: readonly string[], values: ReadonlyMap<string, TensorLike>) =>
  Object.fromEntries(names.flatMap((name) => (values.has(name) ? [[name, values.get(name)!]] : [])));

/** Goes through a stage's nodes as they are run, each value there until its last use. */
function mostIn(
  { nodes, inputs, kept, target }: GraphStage,
  numbers: ReadonlyMap<string, number>,
): AliveValues {
  const sizeOf = (name: string) => 4 * (numbers.get(name) ?? 0);
  const stays = new Set([...inputs, ...kept, target]);
  const lastUse = new Map<string, NodeProto>();
  for (const used of nodes) for (const name of usedBy(used)) lastUse.set(name, used);
  let alive = inputs.reduce((sum, name) => sum + sizeOf(name), 0);
  let most: AliveValues = { bytes: alive, at: target };
  for (const made of nodes) {
    for (const name of made.output) alive += sizeOf(name);
    if (alive > most.bytes) most = { bytes: alive, at: made.output.find((name) => name !== '') ?? target };
    const ended = new Set([...usedBy(made), ...made.output]);
    for (const name of ended)
      if (!stays.has(name) && (lastUse.get(name) ?? made) === made && numbers.has(name))
        alive -= sizeOf(name);
  }
  return most;
}
