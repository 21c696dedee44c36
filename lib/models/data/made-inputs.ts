import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import type { TensorLike } from '../../types';
import type { Feeds } from '../types';
import { integerTensor, isTokenType } from './integers';
import type { ModelInput } from './tensor-checks';

// A generation model that is exported to go on from a prompt takes the keys and values of the tokens before. A run on samples begins
// with none: their caches are empty, and what goes with them follows from the tokens.

const cacheName = /^past(_key_values?)?[._]|(^|[._])(key|value)s?$/i;
const floats = new Set(['float32', 'float16', 'float64']);

/** Whether an input holds the keys or values of earlier tokens. */
function isCache({ name, type, dims }: ModelInput): boolean {
  return floats.has(type) && dims !== null && dims.length >= 3 && cacheName.test(name);
}

function isBranch({ name, type }: ModelInput): boolean {
  return name === 'use_cache_branch' && type === 'bool';
}

/** Whether an input is one that vertexq fills, whose first dimension is not that of the samples. */
export function isMadeInput(input: ModelInput): boolean {
  return isCache(input) || isBranch(input);
}

/**
 * The inputs that vertexq fills where `given` has others. Throws ERR_VERTEXQ_UNSUPPORTED at a cache that cannot be empty.
 */
export function madeInputs(inputs: readonly ModelInput[], given: ReadonlySet<string>): ModelInput[] {
  const caches = inputs.filter(isCache);
  if (caches.length === 0) return [];
  const anyGiven = caches.some(({ name }) => given.has(name));
  return inputs.filter((input) => {
    if (given.has(input.name)) return false;
    if (isBranch(input)) return true;
    // With a cache from the data, all that goes with it has to come from there.
    if (anyGiven) return false;
    if (isCache(input)) {
      emptyDims(input, 1);
      return true;
    }
    const { name, type, dims } = input;
    const follows = name === 'attention_mask' || name === 'position_ids';
    return follows && isTokenType(type) && (dims?.length ?? 2) === 2 && given.has('input_ids');
  });
}

/** Feeds with all inputs that vertexq fills. */
export function completeFeeds(feeds: Feeds, samples: number, inputs: readonly ModelInput[]): Feeds {
  const made = madeInputs(inputs, new Set(Object.keys(feeds)));
  if (made.length === 0) return feeds;
  const all = { ...feeds };
  // The mask first: positions follow from it.
  for (const input of made.sort(
    (a, b) => Number(b.name === 'attention_mask') - Number(a.name === 'attention_mask'),
  ))
    all[input.name] = make(input, all, samples);
  return all;
}

function make(input: ModelInput, feeds: Feeds, samples: number): TensorLike {
  const { name, type } = input;
  if (isBranch(input)) return { data: new Uint8Array(1), dims: input.dims?.length === 0 ? [] : [1], type };
  if (isCache(input)) {
    const data =
      type === 'float16' ? new Uint16Array() : type === 'float64' ? new Float64Array() : new Float32Array();
    return { data, dims: emptyDims(input, samples), type };
  }
  const { dims } = feeds['input_ids']!;
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (name === 'attention_mask') return integerTensor(type, new Uint8Array(count).fill(1), dims);
  return integerTensor(type, positions(feeds['attention_mask'], count, dims[1]!), dims);
}

/** Each token's place among those of its sample that the mask does not hide. */
function positions(mask: TensorLike | undefined, count: number, length: number): Int32Array {
  const seen = mask?.data as ArrayLike<number | bigint> | undefined;
  const places = new Int32Array(count);
  let place = 0;
  for (let i = 0; i < count; i++) {
    if (i % length === 0) place = 0;
    // Hidden tokens have any place that the network knows.
    places[i] = place;
    if (seen === undefined || Number(seen[i]) !== 0) place++;
  }
  return places;
}

/**
 * The dimensions of an empty cache, such as [samples, heads, 0, size]. Of those that the network leaves open, the samples are the one
 * that is called so, or the first; the other is the number of earlier tokens.
 */
function emptyDims({ name, dims }: ModelInput, samples: number): number[] {
  const open = dims!.flatMap((dim, axis) => (typeof dim === 'number' && dim > 0 ? [] : [axis]));
  const called = (axis: number, what: RegExp) => typeof dims![axis] === 'string' && what.test(dims![axis]);
  const batch =
    open.find((axis) => called(axis, /batch/i)) ?? (open.length > 1 || open[0] === 0 ? open[0] : undefined);
  const others = open.filter((axis) => axis !== batch);
  const [earlier] = others;
  if (others.length !== 1)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `The network's input ${describe(name)} [${dims!.map((dim) => dim ?? '?').join(', ')}] looks like a cache, and an empty one cannot be made: ` +
        `${others.length === 0 ? 'no dimension is open' : 'more than one dimension is open'} for the number of earlier tokens. Give it in the data`,
    );
  return dims!.map((dim, axis) => (axis === batch ? samples : axis === earlier ? 0 : (dim as number)));
}
