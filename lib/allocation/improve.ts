import type { Turns } from '../yielding';
import type { Candidate } from './candidate';
import { type Corner, undominated } from './hull';

/** States that are kept from one item to the next: where there are more, the answer is the best of those of the least bounds. */
const mostStates = 8192;

/** A choice for the items so far. */
interface State extends Candidate {
  /** Of the last of them, and what came before it. */
  index: number;
  before: State | null;
}

/**
 * A choice as good as `choices` or better, by dynamic programming over the items: of the states so far, those are kept that no other beats in both bytes and cost, and that the
 * Lagrangian relaxation of what remains does not tell to be no better than what is known. `isBest`: whether none was given up for want of room.
 */
export async function improved(
  items: readonly (readonly Candidate[])[],
  budget: number,
  multiplier: number,
  choices: readonly number[],
  turns: Turns,
): Promise<{ choices: number[]; isBest: boolean }> {
  const corners = items.map(undominated);
  // Large ones first: what is small then fills what remains.
  const spread = (own: readonly Corner[]) => own.at(-1)!.bytes - own[0]!.bytes;
  const order = [...items.keys()].sort((a, b) => spread(corners[b]!) - spread(corners[a]!) || a - b);
  const known = choices.map((choice, i) => items[i]![choice]!);
  const [most, bytes] = [
    known.reduce((sum, own) => sum + own.cost, 0),
    known.reduce((sum, own) => sum + own.bytes, 0),
  ];
  // What the rest takes and costs at the least: λ tells of both together.
  const rest = suffixes(order, (i) =>
    Math.min(...corners[i]!.map((own) => own.cost + multiplier * own.bytes)),
  );
  const room = suffixes(order, (i) => corners[i]![0]!.bytes);
  let states: State[] = [{ bytes: 0, cost: 0, index: -1, before: null }];
  let isBest = true;
  for (const [place, item] of order.entries()) {
    if (turns.due) await turns.next();
    const boundOf = (state: Candidate) => state.cost + rest[place + 1]! - multiplier * (budget - state.bytes);
    const mayBeBest = (state: Candidate) =>
      state.bytes + room[place + 1]! <= budget && boundOf(state) <= most * (1 + 1e-12);
    states = merged(states, corners[item]!, mayBeBest);
    if (states.length <= mostStates) continue;
    isBest = false;
    states = states
      .map((state) => ({ state, bound: boundOf(state) }))
      .sort((a, b) => a.bound - b.bound || a.state.bytes - b.state.bytes)
      .slice(0, mostStates)
      .map(({ state }) => state)
      .sort((a, b) => a.bytes - b.bytes);
  }
  // Costs fall with bytes.
  const best = states.at(-1);
  if (!best || best.cost > most || (best.cost === most && best.bytes >= bytes))
    return { choices: [...choices], isBest };
  const found: number[] = [];
  let state: State = best;
  for (const item of [...order].reverse()) {
    found[item] = state.index;
    state = state.before!;
  }
  return { choices: found, isBest };
}

/** Sums over the items from each place on. */
function suffixes(order: readonly number[], of: (item: number) => number): number[] {
  const sums = [0];
  for (const item of [...order].reverse()) sums.push(sums.at(-1)! + of(item));
  return sums.reverse();
}

/** Each state with each candidate, without those that another beats: a merge of lists that each have the order of bytes. */
function merged(
  states: readonly State[],
  candidates: readonly Corner[],
  mayBeBest: (state: Candidate) => boolean,
): State[] {
  const at = candidates.map(() => 0);
  const kept: State[] = [];
  let least = Infinity;
  for (;;) {
    let next: { list: number; bytes: number; cost: number } | null = null;
    for (const [list, { bytes, cost }] of candidates.entries()) {
      const state = states[at[list]!];
      if (!state) continue;
      const own = { list, bytes: state.bytes + bytes, cost: state.cost + cost };
      if (!next || own.bytes < next.bytes || (own.bytes === next.bytes && own.cost < next.cost)) next = own;
    }
    if (!next) return kept;
    const before = states[at[next.list]!++]!;
    if (next.cost >= least || !mayBeBest(next)) continue;
    least = next.cost;
    kept.push({ bytes: next.bytes, cost: next.cost, index: candidates[next.list]!.index, before });
  }
}
