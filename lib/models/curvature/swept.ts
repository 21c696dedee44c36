import type { Workspace } from '../../runs/workspace';
import type { JobOptions } from '../../types';
import { leastOpset } from '../gradients/index';
import { isSeen } from '../layers/layer';
import type { ModelLayer } from '../layers/model-layers';
import { byFirstOutput, firstOutput, Graph, subgraphsOf } from '../../containers/onnx/graph';
import { opsetOf } from '../../containers/onnx/opset';
import { shallowCopy } from '../../containers/onnx/shallow-copy';
import type { LayerRows } from '../../fit/layer-rows';
import type { OpenModel } from '../open-model';
import type { ChannelGrams } from './channel-grams';
import type { Feeds } from '../types';
import { oldestOpset } from '../write/raise-old';
import { raiseOpset } from '../write/raise-opset';
import type { Question } from './question';
import { Sweep, type SweepTask } from './sweep';

/** What of a network is known beside its graph. */
export type KnownCuts = Pick<SweepTask<ModelLayer>, 'ends' | 'head'>;

/** What going back through a network tells of its layers. */
export interface Squares {
  /** Why a layer has no squares. */
  reasons: ReadonlyMap<ModelLayer, string>;
  /** Mean square gradients of each row of a layer in a batch, or what else was asked; undefined where `reasons` tells why there are none. */
  toldOf(layer: ModelLayer, batch: number): Promise<Float32Array | undefined>;
}

/** A network that has been gone back through. */
export interface Swept extends Squares {
  /** null where no layer has any squares. */
  sweep: Sweep<ModelLayer> | null;
  /** What `channels` has of a layer. */
  gramsOf(layer: ModelLayer): Promise<LayerRows | null>;
  /** Why it has nothing. */
  aloneBecause(layer: ModelLayer): string | null;
}

/** What else is told of a sweep. */
export interface SweepParts {
  /** Whether a batch is run; default: all are. */
  isOwn?: ((batch: number) => boolean) | undefined;
  /** Takes the gradients at layers' outputs. */
  channels?: ChannelGrams<ModelLayer> | undefined;
  /** Another network to go back through, of the same values, and what it is asked; default: this one, for answers of its own. */
  ask?: (opened: OpenModel) => { opened: OpenModel; question: Question };
}

/** Runs the network forward and back for some of its layers. Rejects with what that brings; with the signal's reason. */
export async function sweptLayers(
  opened: OpenModel,
  layers: readonly ModelLayer[],
  feeds: readonly Feeds[],
  cuts: KnownCuts,
  workspace: Workspace,
  memory: number,
  options: JobOptions,
  { isOwn, channels, ask }: SweepParts = {},
): Promise<Swept> {
  const reasons = new Map<ModelLayer, string>();
  for (const layer of layers) {
    const reason = reasonBefore(layer);
    if (reason !== undefined) reasons.set(layer, reason);
  }
  const own = layers.filter((layer) => !reasons.has(layer));
  const raised = withGradients(opened);
  if (typeof raised === 'string') {
    for (const layer of own) reasons.set(layer, raised);
    return {
      ...{ reasons, sweep: null },
      toldOf: () => Promise.resolve(undefined),
      gramsOf: () => Promise.resolve(null),
      aloneBecause: (layer) => reasons.get(layer) ?? null,
    };
  }
  const asked = ask?.(raised) ?? { opened: raised };
  const nodes = byFirstOutput(asked.opened.graph.order);
  const twins = new Map(own.map((layer) => [layer, { ...layer, node: nodes.get(firstOutput(layer.node))! }]));
  const task = { ...asked, layers: [...twins.values()], feeds, isOwn, channels, ...cuts, workspace, memory };
  const sweep = new Sweep<ModelLayer>(task, options);
  await sweep.run();
  for (const [layer, twin] of twins) {
    const reason = sweep.reasons.get(twin);
    if (reason !== undefined) reasons.set(layer, reason);
  }
  return {
    ...{ reasons, sweep },
    toldOf: async (layer, batch) => (reasons.has(layer) ? undefined : sweep.toldOf(twins.get(layer)!, batch)),
    gramsOf: async (layer) => (reasons.has(layer) ? null : (channels?.of(twins.get(layer)!) ?? null)),
    aloneBecause: (layer) => reasons.get(layer) ?? channels?.reasonOf(twins.get(layer)!) ?? null,
  };
}

/** Why a layer has no squares whatever the network is. */
function reasonBefore(layer: ModelLayer): string | undefined {
  if (layer.routed) return 'the network picks its rows by their values';
  if (!isSeen(layer) || layer.follows) return 'it sees no rows';
  return undefined;
}

/** The network in a version of ONNX's operators that gradients are written in, nodes copied where they had to change; or why there is none. */
function withGradients(opened: OpenModel): OpenModel | string {
  const { model, file } = opened;
  const opset = opsetOf(model);
  if (opset >= leastOpset) return opened;
  const why = `gradients need version ${leastOpset} of ONNX's operators, and the network is written in ${opset}`;
  if (model.graph!.node.some((node) => subgraphsOf(node).length > 0)) return why;
  const copy = shallowCopy(model);
  copy.graph = shallowCopy(model.graph!);
  copy.graph.initializer = [...model.graph!.initializer];
  copy.opsetImport = model.opsetImport.map(shallowCopy);
  copy.graph.node = model.graph!.node.map((node) => {
    const own = shallowCopy(node);
    own.input = [...node.input];
    own.attribute = node.attribute.map(shallowCopy);
    return own;
  });
  return raiseOpset(copy, oldestOpset) ? { ...opened, model: copy, graph: new Graph(copy, file) } : why;
}

/** The mean of a layer's squares over the rows of the first so many batches, and these; or why there is none. */
export async function meanOf(
  swept: Squares,
  layer: ModelLayer,
  batches: number,
): Promise<{ mean: number; rows: number } | string> {
  let [sum, rows] = [0, 0];
  for (let batch = 0; batch < batches; batch++) {
    const squares = (await swept.toldOf(layer, batch))!;
    for (const square of squares) sum += square;
    rows += squares.length;
  }
  if (rows === 0) return 'it sees no rows';
  if (!Number.isFinite(sum)) return 'its gradients are not finite numbers';
  return sum === 0 ? 'its gradients are all 0' : { mean: sum / rows, rows };
}
