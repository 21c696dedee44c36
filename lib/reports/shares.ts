import type { CheckpointReport } from '../checkpoints/types';
import type { Report } from '../models/types';
import type { SkippedWeight } from '../types';
import { type Column, formatTable } from './columns';
import { fewOf, type Paint, visible } from './text';
import { formatBytes, formatPercent, plural } from './units';

/** What a run did with the bytes of its input, or would do. */
export interface Run {
  /** How many weights are quantized, and what they are called: `layer`, `weight`. */
  quantized: number;
  thing: string;
  skipped: readonly SkippedWeight[];
  /** Of whole files, and of the quantized weights. */
  bytes: Report['bytes'];
  /** Tensors that hold no weights in floats, where these are known one by one. */
  others?: { count: number; bytes: number };
}

/** What a report tells of that; `copied`: of checkpoints. */
export function runOf({
  layers,
  skipped,
  bytes,
  copied,
}: Pick<Report, 'layers' | 'skipped' | 'bytes'> & Partial<Pick<CheckpointReport, 'copied'>>): Run {
  const run = { quantized: layers.length, thing: copied ? 'weight' : 'layer', skipped, bytes };
  if (!copied) return run;
  const others = {
    count: copied.tensors - skipped.length,
    bytes: copied.bytes - skipped.reduce((sum, weight) => sum + weight.bytes, 0),
  };
  return { ...run, others };
}

/** A line of the table: what became of some of the bytes. */
export interface Share {
  title: string;
  kind: 'quantized' | 'chosen' | 'stuck' | 'other' | 'whole';
  count: number | null;
  before: number;
  after: number;
}

/** Reasons that each have a line of their own, of choices and of the others. */
const mostReasons = 10;
/** Names after a reason. */
const mostNames = 6;
/** Of the file: from here on what could not be quantized is told with the ratio, as it is not what was asked for. */
const largeShare = 0.05;

/** All of the input's bytes: what was quantized, what was left and why, and what is not made of weights; last the whole, their sum. */
export function sharesOf(run: Run): Share[] {
  const { quantized, bytes, others = { count: 0, bytes: 0 } } = run;
  const shares: Share[] = [
    {
      ...{ title: 'quantized', kind: 'quantized', count: quantized },
      ...{ before: bytes.weightsBefore, after: bytes.weightsAfter },
    },
    ...leftShares(run, true),
    ...leftShares(run, false),
  ];
  if (others.count > 0)
    shares.push({
      ...{ title: 'tensors not of floats', kind: 'other', count: others.count },
      ...{ before: others.bytes, after: others.bytes },
    });
  const sum = (of: 'before' | 'after') => shares.reduce((total, share) => total + share[of], 0);
  const rest = { before: bytes.before - sum('before'), after: bytes.after - sum('after') };
  // Less than nothing where weights share bytes of a file, or are stored in fewer than their type has.
  if (rest.before !== 0 || rest.after !== 0)
    shares.push({ title: 'all else', kind: 'other', count: null, ...rest });
  const count = shares.reduce((total, share) => total + (share.count ?? 0), 0);
  return [...shares, { title: 'whole', kind: 'whole', count, before: bytes.before, after: bytes.after }];
}

/** Reasons in the order of their bytes; those beyond the most are one line. */
function leftShares(run: Run, choice: boolean): Share[] {
  const how = choice ? 'left by choice' : 'could not be quantized';
  const kind = choice ? 'chosen' : 'stuck';
  const groups = byReason(run.skipped.filter((weight) => weight.choice === choice));
  const shares = groups.map(({ reason, weights, bytes }): Share => ({
    ...{ title: `${how}: ${reason}`, kind, count: weights.length, before: bytes, after: bytes },
  }));
  if (shares.length <= mostReasons + 1) return shares;
  const more = shares.splice(mostReasons);
  const bytes = more.reduce((sum, { before }) => sum + before, 0);
  const count = more.reduce((sum, share) => sum + (share.count ?? 0), 0);
  return [
    ...shares,
    { title: `${how}: ${more.length} other reasons`, kind, count, before: bytes, after: bytes },
  ];
}

function byReason(skipped: readonly SkippedWeight[]) {
  const groups = new Map<string, { reason: string; weights: SkippedWeight[]; bytes: number }>();
  for (const weight of skipped) {
    const group = groups.get(weight.reason) ?? { reason: weight.reason, weights: [], bytes: 0 };
    groups.set(weight.reason, group);
    group.weights.push(weight);
    group.bytes += weight.bytes;
  }
  return [...groups.values()].sort((a, b) => b.bytes - a.bytes);
}

const columns: Column<Share>[] = [
  { title: 'what', cell: ({ title }) => title },
  {
    title: 'count',
    cell: ({ count }) => (count === null ? '' : String(count)),
    align: 'right',
    dispensable: 1,
  },
  { title: 'before', cell: ({ before }) => formatBytes(before), align: 'right' },
  { title: 'after', cell: ({ after }) => formatBytes(after), align: 'right' },
  { title: 'ratio', cell: ratioOf, align: 'right', dispensable: 2 },
];

/** The shares as a table. */
export function shareTable(run: Run, { paint, width }: { paint: Paint; width?: number | undefined }): string {
  return formatTable(sharesOf(run), columns, { paint, width });
}

/** How many, the ratio of whole files and of the weights alone; and how much could not be quantized, where that is much. */
export function headline({ quantized, thing, bytes, skipped }: Run, wouldBe = false): string {
  const weights = { before: bytes.weightsBefore, after: bytes.weightsAfter };
  const stuck = skipped.reduce((sum, weight) => sum + (weight.choice ? 0 : weight.bytes), 0);
  const unsaid =
    stuck < largeShare * bytes.before
      ? ''
      : `; ${formatPercent(stuck / bytes.before)} of it, ${formatBytes(stuck)}, could not be quantized`;
  return (
    `${plural(quantized, thing)}${wouldBe ? ' would be quantized' : ''}: file ${change(bytes)}${withRatio(bytes)}${unsaid}` +
    `; weights ${change(weights)}${withRatio(weights)}`
  );
}

/** The names of what could not be quantized, a line a reason. */
export function leftNames({ skipped }: Pick<Run, 'skipped'>): string[] {
  const groups = byReason(skipped.filter(({ choice }) => !choice));
  const count = groups.reduce((sum, { weights }) => sum + weights.length, 0);
  if (count === 0) return [];
  return [
    `${plural(count, 'weight')} could not be quantized and ${count === 1 ? 'is as it was' : 'are as they were'}:`,
    ...groups.map(
      ({ reason, weights }) =>
        `  ${visible(reason)}: ${fewOf(
          weights.map(({ name }) => visible(name)),
          mostNames,
        )}`,
    ),
  ];
}

interface Change {
  before: number;
  after: number;
}

/** `28.0 MB → 11.5 MB`. */
export function change({ before, after }: Change): string {
  return `${formatBytes(before)} → ${formatBytes(after)}`;
}

function ratioOf({ before, after }: Change): string {
  return before > 0 && after > 0 ? `${(before / after).toFixed(1)}×` : '';
}

function withRatio(sizes: Change): string {
  const ratio = ratioOf(sizes);
  return ratio === '' ? '' : ` (${ratio})`;
}
