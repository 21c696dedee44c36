import { located } from '../../errors';
import { asQuantizedLayer } from '../../fit/quantize-weights';
import { convert } from '../../native/tensors';
import type { Workspace } from '../../runs/workspace';
import type { Stage } from '../../traversal/forward';
import type { RowWeights } from '../../traversal/row-weights';
import { tuningSteps as steps } from '../../traversal/work';
import type { BlockTuning, Fitted } from '../../traversal/tuning';
import type { Errors, QuantizedLayer } from '../../types';
import type { ModelForward } from '../forward/model-forward';
import type { ModelLayer } from '../layers/model-layers';
import { blockGraph, isTunable } from './block-graph';
import { BlockNetwork } from './block-network';
import { judgedRows } from './judged-rows';
import { ScaleSteps } from './optimizer';

/** Parts of the way that the steps have gone which are tried one after the other, until one has a lower error: where rows are few, all of it may follow them too closely. */
const shares = [1, 0.5];

/**
 * Tunes the scales of a block's layers together, for what the block gives to come near to what the float one gives on the float network's values. Codes and zero points stay. What comes of it is kept
 * only where the error on held-out rows (without such rows, on those of the fit) is lower, with scales as they will be stored. Memory: the block's weights four times, and one batch's
 * values forward and back.
 */
export class ScaleTuning implements BlockTuning<ModelLayer> {
  constructor(
    private readonly forward: ModelForward,
    private readonly weights: RowWeights<ModelLayer> | null,
    private readonly workspace: Workspace,
    private readonly memory: number,
  ) {}

  takes(layer: ModelLayer): boolean {
    return isTunable(layer);
  }

  async tune(
    stage: Stage<ModelLayer>,
    fitted: readonly Fitted<ModelLayer>[],
    signal: AbortSignal | undefined,
    onStep: (done: number, total: number) => void,
  ): Promise<QuantizedLayer[]> {
    const block = this.forward.blockOf(stage);
    try {
      const graph = await blockGraph(block.opened, block.stage, fitted, block.prefix, signal);
      const last = fitted.at(-1)!.layer;
      const rows = await judgedRows(block, last, this.weights, graph, this.workspace, this.memory, signal);
      const network = await BlockNetwork.load(block, graph, rows);
      try {
        const errorsOf = async (scales: readonly Float32Array[]): Promise<Errors> => ({
          holdout: await network.error(scales, 'heldOut', signal),
          calibration: await network.error(scales, 'fit', signal),
        });
        const given = fitted.map(({ quantized }) => quantized.scales);
        const before = await errorsOf(given);
        const found = await this.steps(network, given, block.batches, signal, onStep);
        let [tuned, after, isKept] = [given, before, false];
        for (const share of shares) {
          tuned = [];
          for (const [i, scales] of found.entries())
            tuned.push(
              await asStored(fitted[i]!.layer, given[i]!, between(given[i]!, scales, share), signal),
            );
          after = await errorsOf(tuned);
          isKept = isLess(after, before);
          if (isKept) break;
        }
        return fitted.map(({ quantized }, i) => {
          const scales = isKept ? tuned[i]! : quantized.scales;
          const told = { block: stage.target, before, after, isKept };
          return asQuantizedLayer({ ...quantized, scales, report: { ...quantized.report, tuned: told } });
        });
      } finally {
        await network.release();
        await rows.end();
      }
    } catch (error) {
      throw located(`tuning the block that ends with "${stage.target}"`, error);
    }
  }

  private async steps(
    network: BlockNetwork,
    given: readonly Float32Array[],
    batches: readonly { heldOut: boolean }[],
    signal: AbortSignal | undefined,
    onStep: (done: number, total: number) => void,
  ): Promise<Float32Array[]> {
    const scales = given.map((own) => own.slice());
    const changing = scales.map((own) => new ScaleSteps(own, steps));
    const fit = [...batches.keys()].filter((batch) => !batches[batch]!.heldOut);
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      // Spread over all of them.
      const batch =
        fit[Math.floor((step * Math.max(fit.length, 1)) / Math.min(steps, fit.length)) % fit.length]!;
      const gradients = await network.gradients(scales, batch);
      for (const [i, own] of changing.entries()) own.take(gradients[i]!);
      onStep(step + 1, steps);
    }
    return scales;
  }
}

/** Scales that have gone a part of the way. */
const between = (from: Float32Array, to: Float32Array, share: number) =>
  from.map((scale, i) => (scale === 0 ? 0 : scale * (to[i]! / scale) ** share));

/** What a file will hold; `given`: what it would hold of the scales before. */
async function asStored(
  { settings }: ModelLayer,
  given: Float32Array,
  scales: Float32Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const type = settings.stored?.scales ?? 'F32';
  if (type === 'F32' || type === 'F64') return scales;
  const rounded = (await convert((await convert(scales, 'F32', type, signal)).data, type, 'F32', signal))
    .data;
  // At the ends of the type's range a number may have become 0 or infinite.
  return rounded.map((scale, i) =>
    Number.isFinite(scale) && (scale !== 0 || scales[i] === 0) ? scale : given[i]!,
  );
}

/** NaN is never less. */
const isLess = (after: Errors, before: Errors) =>
  before.holdout === null
    ? (after.calibration ?? Infinity) < (before.calibration ?? 0)
    : (after.holdout ?? Infinity) < before.holdout;
