import type { OpenDecoder } from '../decoders/open';
import { VertexqError } from '../errors';
import { ScaleSteps } from '../models/tuning/optimizer';
import type { Feeds } from '../models/types';
import type { CalibrationSet } from '../models/calibration-set';
import { Heads } from './head';
import { type Factors, PartRunner, type RunnerOptions } from './part-runner';
import { scaledParts, type Tunable } from './scaled-parts';
import type { Divergences } from './types';

/** Tokens of a step, or a batch where that has more: of SmolLM2 512 were as good as 2,048 for as many tokens in all. */
export const tokensPerStep = 512;
/** By what part of itself a scale changes in the first step (docs/curvature.md). */
const firstStep = 0.002;
/** Parts of the way that the steps have gone which are tried one after the other, until one is better on held-out data. */
const shares = [1, 0.5];

export interface Tuned {
  /** By weight, in the order of those that were given, [outFeatures, groups]. */
  factors: ReadonlyMap<string, Float32Array>;
  before: Divergences;
  after: Divergences;
  isKept: boolean;
  steps: number;
}

/**
 * Tunes factors of the scales of a quantized decoder's weights for what it says of the next token to come near to what the float one says: the KL divergence, by its gradients through the
 * whole network (distillation; Hinton, Vinyals & Dean, 2015), with Adam. Codes stay. `rounded`: factors as the file will hold the scales. Kept is what lowers the divergence on held-out data.
 */
export async function tuneScales(
  float: OpenDecoder,
  quantized: OpenDecoder,
  tunables: ReadonlyMap<string, Tunable>,
  data: Pick<CalibrationSet, 'fit' | 'holdout'>,
  rounds: number,
  rounded: (weight: string, factors: Float32Array) => Promise<Float32Array>,
  options: Omit<RunnerOptions, 'onPart'> & { onProgress: (done: number, total: number) => void },
): Promise<Tuned> {
  const feeds = [...data.fit, ...data.holdout];
  const fit = [...data.fit.keys()];
  const heldOut = [...data.holdout.keys()].map((i) => fit.length + i);
  const steps = stepsOf(data.fit);
  const all = Array.from({ length: rounds }, () => steps).flat();
  const parts = scaledParts(quantized, tunables);
  const teacherParts = scaledParts(float, new Map());
  const blocks = parts.slice(0, -1);
  // Before, and twice after in the worst case.
  const judged = heldOut.length > 0 ? 3 * heldOut.length : 0;
  const total = blocks.length * (feeds.length + 3 * rounds * fit.length + judged);
  let done = 0;
  const runner = {
    ...options,
    memory: options.memory / 2,
    onPart: (runs: number) => options.onProgress((done += runs), total),
  };
  const teacher = new PartRunner(float, teacherParts.slice(0, -1), feeds, runner, 'float');
  const student = new PartRunner(quantized, blocks, feeds, runner, 'quantized');
  await teacher.forward(
    [...feeds.keys()],
    teacherParts.map(() => []),
    false,
  );
  const heads = await Heads.load(float, quantized, {
    float: teacherParts.at(-1)!.stage,
    quantized: parts.at(-1)!.stage,
  });
  try {
    const hidden = student.parts.at(-1)!.stage.target;
    const judge = async (batch: number) => {
      const own = await heads.judge(await teacher.hidden(batch), await student.hidden(batch));
      if (Number.isFinite(own.divergence)) return own;
      throw new VertexqError(
        'ERR_VERTEXQ_NOT_FINITE',
        `${quantized.file} or ${float.file} gives logits that are not finite on the data`,
      );
    };
    /** Of batches, without gradients. */
    const divergenceOf = async (batches: readonly number[], factors: Factors): Promise<number | null> => {
      if (batches.length === 0) return null;
      await student.forward(batches, factors, false);
      let [sum, places] = [0, 0];
      for (const batch of batches) {
        const own = await judge(batch);
        sum += own.divergence;
        places += own.places;
      }
      await student.drop([hidden]);
      return sum / places;
    };
    const ones = blocks.map(({ tunables: own }) =>
      own.map(({ shape, groups }) => new Float32Array(shape[0] * groups).fill(1)),
    );
    const before = await divergenceOf(heldOut, ones);
    const factors = ones.map((own) => own.map((one) => one.slice()));
    const changing = factors.map((own) => own.map((one) => new ScaleSteps(one, all.length, firstStep)));
    const found: number[] = [];
    for (const batches of all) {
      await student.forward(batches, factors, true);
      const judgements = new Map<number, Awaited<ReturnType<typeof judge>>>();
      for (const batch of batches) judgements.set(batch, await judge(batch));
      const gradients = await student.back(batches, factors, (batch) => judgements.get(batch)!.cotangent);
      for (const [i, own] of changing.entries())
        for (const [j, one] of own.entries()) one.take(gradients[i]![j]!);
      const sums = [...judgements.values()];
      found.push(
        sums.reduce((sum, { divergence }) => sum + divergence, 0) /
          sums.reduce((sum, { places }) => sum + places, 0),
      );
    }
    const quarter = Math.max(1, Math.floor(found.length / 4));
    const mean = (list: readonly number[]) => list.reduce((sum, one) => sum + one, 0) / list.length;
    const [first, last] = [mean(found.slice(0, quarter)), mean(found.slice(-quarter))];
    let kept: Factors = ones;
    let [after, isKept] = [before, false];
    for (const share of shares) {
      const tried: Float32Array[][] = [];
      for (const [i, { tunables: own }] of blocks.entries()) {
        tried.push([]);
        for (const [j, { weight }] of own.entries())
          tried[i]!.push(
            await rounded(
              weight,
              factors[i]![j]!.map((factor) => factor ** share),
            ),
          );
      }
      const divergence = await divergenceOf(heldOut, tried);
      // Where nothing is held out there is nothing to tell it by.
      isKept = divergence === null || divergence < before!;
      if (!isKept) continue;
      [kept, after] = [tried, divergence];
      break;
    }
    options.onProgress(total, total);
    return {
      factors: new Map(
        blocks.flatMap(({ tunables: own }, i) => own.map(({ weight }, j) => [weight, kept[i]![j]!] as const)),
      ),
      before: { calibration: first, holdout: before },
      after: { calibration: last, holdout: after },
      ...{ isKept, steps: all.length },
    };
  } finally {
    await heads.release();
  }
}

/** Batches that are run together in a step. */
function stepsOf(feeds: readonly Feeds[]): number[][] {
  const steps: number[][] = [];
  let tokens = Infinity;
  for (const [batch, { input_ids }] of feeds.entries()) {
    const own = input_ids!.dims.reduce((product, dim) => product * dim, 1);
    if (tokens + own > tokensPerStep) {
      steps.push([]);
      tokens = 0;
    }
    steps.at(-1)!.push(batch);
    tokens += own;
  }
  return steps;
}
