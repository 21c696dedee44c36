import type { Workspace } from '../../runs/workspace';
import { enoughPatches } from '../../traversal/captured-rows';
import type { RowWeights } from '../../traversal/row-weights';
import type { JobOptions } from '../../types';
import type { CalibrationSet } from '../calibration-set';
import { leastOpset } from '../gradients/index';
import { isSeen } from '../layers/layer';
import type { ModelLayer } from '../layers/model-layers';
import { Graph, subgraphsOf } from '../onnx/graph';
import { opsetOf } from '../onnx/opset';
import { shallowCopy } from '../onnx/shallow-copy';
import type { OpenModel } from '../open-model';
import { oldestOpset } from '../write/raise-old';
import { raiseOpset } from '../write/raise-opset';
import { correctionOf, PowerSums, type RowScale, weightsOf } from './strength';
import { Sweep, type SweepTask } from './sweep';

/** What of a network is known beside its graph. */
export type KnownCuts = Pick<SweepTask<ModelLayer>, 'ends' | 'head'>;

/**
 * Weights of the rows of layers by what the network's outputs feel of an error there: mean squares of gradients, of a power and with a floor (strength.ts), with
 * the mean 1 over the rows that are fitted to. Runs the float network forward and back. Rejects with what that brings; with the signal's reason.
 */
export async function outputWeights(
  opened: OpenModel,
  layers: readonly ModelLayer[],
  data: Pick<CalibrationSet, 'fit' | 'holdout'>,
  cuts: KnownCuts,
  workspace: Workspace,
  memory: number,
  options: JobOptions,
): Promise<RowWeights<ModelLayer>> {
  const reasons = new Map<ModelLayer, string>();
  for (const layer of layers) {
    const reason = reasonBefore(layer);
    if (reason !== undefined) reasons.set(layer, reason);
  }
  const own = layers.filter((layer) => !reasons.has(layer));
  const raised = withGradients(opened);
  if (typeof raised === 'string') {
    for (const layer of own) reasons.set(layer, raised);
    return new OutputWeights(null, reasons, new Map());
  }
  const nodes = new Map(raised.graph.order.map((node) => [node.output.find((name) => name !== ''), node]));
  const twins = new Map(
    own.map((layer) => [
      layer,
      { ...layer, node: nodes.get(layer.node.output.find((name) => name !== ''))! },
    ]),
  );
  const feeds = [...data.fit, ...data.holdout];
  const task = { opened: raised, layers: [...twins.values()], feeds, ...cuts, workspace, memory };
  const sweep = new Sweep<ModelLayer>(task, options);
  await sweep.run();
  const scales = new Map<ModelLayer, RowScale>();
  for (const [layer, twin] of twins) {
    const reason = sweep.reasons.get(twin);
    const found = reason ?? (await scaleOf(sweep, twin, data.fit.length));
    if (typeof found === 'string') reasons.set(layer, found);
    else scales.set(layer, found);
  }
  return new OutputWeights({ sweep, twins }, reasons, scales);
}

/** Why a layer has no weights whatever the network is. */
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

/** How the rows of a layer are weighted; or why they are not. The mean is that of those that are fitted to, in so many batches. */
async function scaleOf(
  sweep: Sweep<ModelLayer>,
  layer: ModelLayer,
  batches: number,
): Promise<RowScale | string> {
  let [sum, rows] = [0, 0];
  for (let batch = 0; batch < batches; batch++) {
    const squares = (await sweep.squaresOf(layer, batch))!;
    for (const square of squares) sum += square;
    rows += squares.length;
  }
  if (rows === 0) return 'it sees no rows';
  if (!Number.isFinite(sum)) return 'its gradients are not finite numbers';
  if (sum === 0) return 'its gradients are all 0';
  const sums = new PowerSums(sum / rows, layer.errorCorrection);
  for (let batch = 0; batch < batches; batch++) sums.add((await sweep.squaresOf(layer, batch))!);
  const isConv = layer.input!.rows.kind === 'patches';
  return sums.choose(layer.inFeatures, isConv ? enoughPatches(layer.inFeatures) : rows);
}

class OutputWeights implements RowWeights<ModelLayer> {
  readonly correctionOf = correctionOf;

  constructor(
    private readonly swept: { sweep: Sweep<ModelLayer>; twins: ReadonlyMap<ModelLayer, ModelLayer> } | null,
    private readonly reasons: ReadonlyMap<ModelLayer, string>,
    private readonly scales: ReadonlyMap<ModelLayer, RowScale>,
  ) {}

  reasonOf(layer: ModelLayer): string | null {
    return this.reasons.get(layer) ?? null;
  }

  async of(layer: ModelLayer, batch: number): Promise<Float32Array | null> {
    const scale = this.scales.get(layer);
    if (!scale || !this.swept) return null;
    const { sweep, twins } = this.swept;
    return weightsOf((await sweep.squaresOf(twins.get(layer)!, batch))!, scale);
  }
}
