import { allocate } from '../allocation/allocate';
import type { Candidate } from '../allocation/candidate';
import { VertexqError } from '../errors';
import { escaped } from '../globs';
import { formatBytes } from '../reports/units';
import { type MeasuredWidth, type SensitiveLayer, type Sensitivity, type Width, widthName } from './types';
import { warn, type Warning } from '../warning-codes';

/** Widths for some layers: what `overrides` takes. */
export interface ChosenWidths extends Width {
  /** Their names as globs: exactly these. */
  layers: string[];
}

/** Bytes that the files or the quantized weights may take, or a change of the outputs that files of the fewest bytes are to keep to. */
export type Target = { bytes: number; of: 'files' | 'weights' } | { change: number; of: 'files' };

/** How a run came to its widths. */
export interface BudgetReport {
  /**
   * What was asked for, in bytes, and what it is about: the files that are written, or the quantized weights. Where a `change` of the outputs was asked for, in the sensitivity's unit, the bytes are the fewest that keep to it.
   */
  target: { bytes: number; of: 'files' | 'weights'; change?: number };
  /** What comes of it. */
  bytes: number;
  /** Passed as the option `overrides`, they give the same again. */
  overrides: ChosenWidths[];
  /** The sum of what the chosen widths do to the network's outputs, each alone (in a run that corrects errors what is left of that), in the sensitivity's unit; no choice of this size has less than `bound`, and this one has at most `gap` more than the best. */
  change: number;
  /** The least change that any choice of this size could have. */
  bound: number;
  /** `change` − `bound`. */
  gap: number;
  /** What a tenth more of the target would come to: its bytes, and the least change of widths that fit. null where none are wider. */
  more: { bytes: number; change: number } | null;
  /** By what measure widths were chosen. */
  sensitivity: Pick<Sensitivity, 'how' | 'unit' | 'rows'>;
}

/** Layers that need one width. */
interface Item {
  layers: SensitiveLayer[];
  widths: Width[];
  candidates: Candidate[];
}

/** Allocations that are tried until what lies between tensors is known. */
const mostTries = 12;
/** A target is met within this share of it, or a warning says why not. */
export const nearness = 0.01;

/**
 * Widths for a target. Rejects with ERR_VERTEXQ_BUDGET where it is out of reach, telling the nearest that is not; with what `sizeOf` brings; with the signal's reason.
 * `sizeOf`: bytes of the output with such overrides.
 */
export async function chooseWidths(
  sensitivity: Sensitivity,
  target: Target,
  sizeOf: (overrides: ChosenWidths[]) => Promise<number>,
  signal: AbortSignal | undefined,
): Promise<{ report: BudgetReport; warnings: Warning[] }> {
  return 'change' in target
    ? { report: await fewestBytes(sensitivity, target, sizeOf, signal), warnings: [] }
    : leastChange(sensitivity, target, sizeOf, signal);
}

/** The fewest bytes of candidates with which the sum of changes is `target.change` at the most. */
async function fewestBytes(
  { layers, how, unit, rows, input, unmeasured }: Sensitivity,
  target: { change: number; of: 'files' },
  sizeOf: (overrides: ChosenWidths[]) => Promise<number>,
  signal: AbortSignal | undefined,
): Promise<BudgetReport> {
  const items = itemsOf(layers);
  const candidates = items.map((item) => item.candidates);
  const sumOf = (of: (own: readonly Candidate[]) => number) =>
    candidates.reduce((sum, own) => sum + of(own), 0);
  const least = sumOf((own) => Math.min(...own.map(({ cost }) => cost)));
  if (least > target.change)
    throw new VertexqError(
      'ERR_VERTEXQ_BUDGET',
      `The outputs of ${input} cannot keep to a change of ${target.change}: with the width of each layer that changes them least it is ${least} (${unit}, ${how}, ${layers.length} layers; ${unmeasured.length} others are not in it)`,
    );
  // With more bytes costs only fall. The last choice that kept to it:
  let [from, to] = [
    sumOf((own) => Math.min(...own.map(({ bytes }) => bytes))),
    sumOf((own) => Math.max(...own.map(({ bytes }) => bytes))),
  ];
  let found = await allocate(candidates, to, signal);
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    const tried = await allocate(candidates, middle, signal);
    if (tried.cost <= target.change) [found, to] = [tried, middle];
    else from = middle + 1;
  }
  const { choices, cost, bound, gap } = found;
  const overrides = overridesOf(items, choices);
  const bytes = await sizeOf(overrides);
  return {
    ...{ target: { bytes, ...target }, bytes, overrides, change: cost, bound, gap },
    more: await moreOf(candidates, bytes - found.bytes, bytes, cost, signal),
    sensitivity: { how, unit, rows },
  };
}

/**
 * Widths with the least sum of changes whose bytes, as `sizeOf` tells them for such overrides, are `target` at the most. Rejects with ERR_VERTEXQ_BUDGET, telling the smallest that can be reached, where that is
 * more; with what `sizeOf` brings; with the signal's reason.
 */
async function leastChange(
  { layers, how, unit, rows, unmeasured, input }: Sensitivity,
  target: { bytes: number; of: 'files' | 'weights' },
  sizeOf: (overrides: ChosenWidths[]) => Promise<number>,
  signal: AbortSignal | undefined,
): Promise<{ report: BudgetReport; warnings: Warning[] }> {
  const items = itemsOf(layers);
  const pick = (of: (candidates: readonly Candidate[]) => number) =>
    items.map(({ candidates }) => of(candidates));
  const overridesFor = (choices: readonly number[]) => overridesOf(items, choices);
  const bytesOf = (choices: readonly number[]) =>
    items.reduce((sum, { candidates }, i) => sum + candidates[choices[i]!]!.bytes, 0);
  const smallest = pick((own) => own.reduce((at, { bytes }, i) => (bytes < own[at]!.bytes ? i : at), 0));
  const least = await sizeOf(overridesFor(smallest));
  if (least > target.bytes)
    throw new VertexqError(
      'ERR_VERTEXQ_BUDGET',
      `${input} cannot become as small as ${told(target.bytes)}: with the fewest bits that the format has for each layer its ${target.of} take ${told(least)}, ${told(bytesOf(smallest))} of them in ${layers.length} layers whose widths are chosen` +
        (unmeasured.length > 0
          ? `; ${unmeasured.length} keep theirs, "${unmeasured[0]!.name}" for one: ${unmeasured[0]!.reason}`
          : ''),
    );
  // All that is not in the candidates' bytes; where tensors are aligned, it depends on the choice.
  let others = least - bytesOf(smallest);
  for (let attempt = 1; ; attempt++) {
    const budget = Math.max(bytesOf(smallest), target.bytes - others);
    const candidates = items.map((item) => item.candidates);
    const found = attempt <= mostTries ? await allocate(candidates, budget, signal) : null;
    const choices = found?.choices ?? smallest;
    const overrides = overridesFor(choices);
    const bytes = await sizeOf(overrides);
    if (bytes > target.bytes) {
      others += bytes - target.bytes;
      continue;
    }
    const change = items.reduce((sum, item, i) => sum + item.candidates[choices[i]!]!.cost, 0);
    const bound = found?.bound ?? 0;
    const report: BudgetReport = {
      ...{ target, bytes, overrides, change, bound, gap: change - bound },
      more: await moreOf(candidates, others, target.bytes, change, signal),
      sensitivity: { how, unit, rows },
    };
    return { report, warnings: bytes < (1 - nearness) * target.bytes ? [below(report, items, choices)] : [] };
  }
}

/** What candidates would come to with a tenth more bytes, `others` of which are none of theirs. */
async function moreOf(
  candidates: readonly (readonly Candidate[])[],
  others: number,
  target: number,
  before: number,
  signal: AbortSignal | undefined,
): Promise<BudgetReport['more']> {
  const least = candidates.reduce((sum, own) => sum + Math.min(...own.map(({ bytes }) => bytes)), 0);
  const budget = Math.max(least, Math.floor(1.1 * target) - others);
  const { bytes, cost } = await allocate(candidates, budget, signal);
  return cost < before ? { bytes: others + bytes, change: cost } : null;
}

const told = (bytes: number) => `${bytes} bytes (${formatBytes(bytes)})`;

/** Why a target is not reached. */
function below({ target, bytes }: BudgetReport, items: readonly Item[], choices: readonly number[]): Warning {
  const isBest = items.every(({ candidates }, i) =>
    candidates.every(({ cost }) => cost >= candidates[choices[i]!]!.cost),
  );
  const why = isBest
    ? 'every layer has the width that changes the outputs least'
    : 'the next wider choice for any layer that would lower the change takes more than is left';
  return warn(
    'WARN_VERTEXQ_BELOW_TARGET',
    `The ${target.of} take ${told(bytes)}, more than ${100 * nearness} % below the target of ${told(target.bytes)}: ${why}.`,
  );
}

function itemsOf(layers: readonly SensitiveLayer[]): Item[] {
  const groups = new Map<string, SensitiveLayer[]>();
  for (const layer of layers) {
    const key = layer.group === null ? `layer ${layer.name}` : `group ${layer.group}`;
    groups.set(key, [...(groups.get(key) ?? []), layer]);
  }
  return [...groups.values()].map((own) => {
    const [first] = own;
    // Of layers that need one width, those that all of them can have.
    const shared = first!.widths.flatMap((width) => {
      const all = own.map(({ widths }) => widths.find((other) => widthName(other) === widthName(width)));
      return all.includes(undefined) ? [] : [all as MeasuredWidth[]];
    });
    const sum = (all: readonly MeasuredWidth[], of: 'bytes' | 'change') =>
      all.reduce((total, width) => total + width[of], 0);
    return {
      layers: own,
      widths: shared.map(([{ bits, groupSize, blockType } = {} as MeasuredWidth]) => ({
        ...(bits !== undefined && { bits }),
        ...(groupSize !== undefined && { groupSize }),
        ...(blockType !== undefined && { blockType }),
      })),
      candidates: shared.map((all) => ({ bytes: sum(all, 'bytes'), cost: sum(all, 'change') })),
    };
  });
}

/** Layers of one width together, in the order of the layers. */
function overridesOf(items: readonly Item[], choices: readonly number[]): ChosenWidths[] {
  const chosen = new Map<string, ChosenWidths>();
  for (const [i, { layers, widths }] of items.entries()) {
    const width = widths[choices[i]!]!;
    const own = chosen.get(widthName(width)) ?? { layers: [], ...width };
    chosen.set(widthName(width), own);
    own.layers.push(...layers.map(({ name }) => escaped(name)));
  }
  return [...chosen.values()];
}
