import { closest } from 'fastest-levenshtein';
import { describe } from '../../options/messages';
import type { DataOptions } from '../types';
import { isMadeInput } from './made-inputs';
import type { ModelInput } from './tensor-checks';

// Along which axis of each input the samples lie. Sequences are often [time, batch, …], states [layers, batch, …]; a scalar or a
// vector of constants has no such axis, and is the same for all samples.

type Dims = NonNullable<ModelInput['dims']>;
type BatchAxis = DataOptions['batchAxis'];

/** Exporters write −1, and even 0, for a dimension that is open. */
const isOpen = (dim: Dims[number] | undefined) => dim !== undefined && (typeof dim !== 'number' || dim <= 0);
const isUnnamed = (dim: Dims[number] | undefined) => isOpen(dim) && typeof dim !== 'string';

const shortBatchNames = new Set(['b', 'B', 'bs', 'BS', 'N']);
export const isBatchName = (dim: Dims[number]) =>
  typeof dim === 'string' && (/batch/i.test(dim) || shortBatchNames.has(dim));
const isTimeName = (dim: Dims[number] | undefined) =>
  typeof dim === 'string' && /^(t|s|time|seq(_?len(gth)?|uence(_?len(gth)?)?)?|frames?|steps?)$/i.test(dim);

/**
 * The inputs with their batch axes: as the option says, else by what their dimensions are called, by a name that inputs share, or
 * the first dimension. Throws RangeError at an option that does not fit the inputs.
 */
export function withBatchAxes(inputs: readonly ModelInput[], option: BatchAxis): ModelInput[] {
  const axisOf = option === undefined ? foundAxes(inputs) : chosenAxes(inputs, option);
  const found = inputs.map((input) => ({ ...input, batchAxis: axisOf(input) }));
  const fixed = found.flatMap(({ name, dims, batchAxis }) => {
    const dim = batchAxis === null ? undefined : dims?.[batchAxis];
    return typeof dim === 'number' && dim > 0 ? [{ name, batchAxis, dim }] : [];
  });
  const odd = fixed.find(({ dim }) => dim !== fixed[0]!.dim);
  if (odd)
    throw new RangeError(
      `The "batchAxis" option names axis ${fixed[0]!.batchAxis} of ${describe(fixed[0]!.name)}, of fixed length ${fixed[0]!.dim}, and axis ${odd.batchAxis} of ${describe(odd.name)}, of ${odd.dim}: ` +
        'expected as many samples in both. For an input that is the same for all samples, say null (--batch-axis input=none)',
    );
  return found;
}

/** What the inputs call the dimension of their samples. */
export function batchNamesOf(inputs: readonly ModelInput[]): Set<string> {
  return new Set(
    inputs.flatMap(({ dims, batchAxis }) => {
      const dim = batchAxis === null || batchAxis === undefined ? null : dims?.[batchAxis];
      return typeof dim === 'string' ? [dim] : [];
    }),
  );
}

/** `x[time, batch, 36]`, for messages. */
export function describeInput({ name, dims }: ModelInput): string {
  return `${name}[${dims === null ? '…' : dims.map((dim) => dim ?? '?').join(', ')}]`;
}

type AxisOf = (input: ModelInput) => number | null;

function chosenAxes(inputs: readonly ModelInput[], option: NonNullable<BatchAxis>): AxisOf {
  const list = inputs.slice(0, 10).map(describeInput).join(', ') + (inputs.length > 10 ? ', …' : '');
  if (typeof option === 'string') {
    for (const input of inputs)
      if (input.dims !== null && input.dims.indexOf(option) !== input.dims.lastIndexOf(option))
        throw new RangeError(
          `The "batchAxis" option is ${describe(option)}, which the input ${describeInput(input)} has twice: say which axis it is, { input: axis } (--batch-axis input=axis)`,
        );
    if (!inputs.some(({ dims }) => dims?.includes(option)))
      throw new RangeError(
        `The "batchAxis" option is ${describe(option)}, and no input has a dimension of that name: the network's inputs are ${list}`,
      );
    return ({ dims }) => axisNamed(dims, (dim) => dim === option);
  }
  const axes = new Map(Object.entries(option));
  const names = new Set<Dims[number]>();
  for (const [name, axis] of axes) {
    const input = inputs.find((known) => known.name === name);
    if (!input)
      throw new RangeError(
        `The "batchAxis" option names the input ${describe(name)}, which the network has not: ${
          name.length < 200 && inputs.length > 0
            ? `did you mean ${describe(
                closest(
                  name.slice(0, 200),
                  inputs.map((known) => known.name.slice(0, 200)),
                ),
              )}? `
            : ''
        }Its inputs are ${list}`,
      );
    if (axis === null) continue;
    if (input.dims !== null && axis >= input.dims.length)
      throw new RangeError(
        `The "batchAxis" option says axis ${axis} of ${describeInput(input)}: expected ${input.dims.length === 0 ? 'null, as it has no axes' : `one from 0 to ${input.dims.length - 1}, or null`}`,
      );
    const dim = input.dims?.[axis];
    if (typeof dim === 'string') names.add(dim);
  }
  const found = foundAxes(inputs);
  return (input) => {
    const axis = axes.get(input.name);
    return axis === undefined ? (axisNamed(input.dims, (dim) => names.has(dim)) ?? found(input)) : axis;
  };
}

function axisNamed(dims: Dims | null, isName: (dim: Dims[number]) => boolean): number | null {
  const axis = dims?.findIndex(isName) ?? -1;
  return axis < 0 ? null : axis;
}

function foundAxes(all: readonly ModelInput[]): AxisOf {
  // What vertexq fills by itself follows the others.
  const inputs = all.filter((input) => !isMadeInput(input));
  const shared = inputs.some(({ dims }) => dims?.some(isBatchName)) ? null : sharedName(inputs);
  const isName = shared === null ? isBatchName : (dim: Dims[number]) => dim === shared;
  if (inputs.some(({ dims }) => dims?.some(isName)))
    return ({ dims }) => axisNamed(dims, isName) ?? unnamedAxis(dims);
  if (inputs.some(({ dims }) => dims === null || isOpen(dims[0])))
    return ({ dims }) => {
      if (dims === null) return 0;
      if (dims.length >= 3 && isTimeName(dims[0]) && isOpen(dims[1])) return 1;
      return isOpen(dims[0]) ? 0 : isState(dims) ? 1 : null;
    };
  const fixed = fixedBatch(inputs);
  return ({ dims }) => (dims === null ? 0 : fixed === null ? null : fixedAxis(dims, fixed));
}

/** Where other inputs name the samples, one that names nothing may have them too. */
function unnamedAxis(dims: Dims | null): number | null {
  if (dims === null || isUnnamed(dims[0])) return 0;
  return isState(dims) && isUnnamed(dims[1]) ? 1 : null;
}

/** Whether an input looks like [layers, batch, n], with all but the batch fixed. */
function isState(dims: Dims): boolean {
  return dims.length >= 3 && isOpen(dims[1]) && dims.filter(isOpen).length === 1;
}

/**
 * The name that most inputs share, if one could be that of the samples: it is some input's first dimension, or the batch of a state and of a
 * sequence.
 */
function sharedName(inputs: readonly ModelInput[]): string | null {
  const places = new Map<string, { axis: number; dims: Dims }[]>();
  for (const { dims } of inputs)
    for (const [axis, dim] of dims?.entries() ?? [])
      if (typeof dim === 'string' && dims!.indexOf(dim) === axis)
        places.set(dim, [...(places.get(dim) ?? []), { axis, dims: dims! }]);
  let best: { name: string; count: number; sum: number } | null = null;
  for (const [name, own] of places) {
    const couldBe =
      own.some(({ axis }) => axis === 0) ||
      (own.some(({ axis, dims }) => axis === 1 && isState(dims)) &&
        own.some(({ axis, dims }) => axis === 1 && isOpen(dims[0])));
    if (own.length < 2 || !couldBe) continue;
    const sum = own.reduce((total, { axis }) => total + axis, 0);
    if (!best || own.length > best.count || (own.length === best.count && sum < best.sum))
      best = { name, count: own.length, sum };
  }
  return best?.name ?? null;
}

/** Of a network that fixes all: the number of samples that most inputs agree on; of several, that of the input of the highest rank. */
function fixedBatch(inputs: readonly ModelInput[]): number | null {
  const shapes = inputs.flatMap(({ dims }) => (dims !== null && dims.length > 0 ? [dims] : []));
  const candidates = shapes.map((dims) => ({
    samples: dims[0] as number,
    count: shapes.filter((other) => fixedAxis(other, dims[0] as number) !== null).length,
    rank: dims.length,
  }));
  const most = Math.max(0, ...candidates.map(({ count }) => count));
  const agreed = candidates.filter(({ count }) => count === most);
  const rank = Math.max(0, ...agreed.map((candidate) => candidate.rank));
  const left = new Set(agreed.filter((candidate) => candidate.rank === rank).map(({ samples }) => samples));
  return left.size === 1 ? [...left][0]! : null;
}

function fixedAxis(dims: Dims, samples: number): number | null {
  if (dims[0] === samples) return 0;
  return dims.length >= 3 && dims[1] === samples ? 1 : null;
}
