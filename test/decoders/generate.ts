import { runSession, type loadSession } from '../../lib/models/runtime';
import type { Feeds } from '../../lib/models/types';

type Session = Awaited<ReturnType<typeof loadSession>>;

/** Texts of one length, of which the first tokens may be padding. */
export interface Padded {
  ids: readonly number[][];
  /** Tokens of padding before each text. */
  padding: readonly number[];
}

/** What a network in the form with a cache is to be given, with an empty cache. */
export function emptyCache(
  { num_hidden_layers, n_layer }: Record<string, unknown>,
  [batch, heads, size]: readonly [number, number, number],
): Feeds {
  const cache: Feeds = {};
  for (let block = 0; block < Number(num_hidden_layers ?? n_layer); block++)
    for (const what of ['key', 'value'])
      cache[`past_key_values.${block}.${what}`] = {
        data: new Float32Array(0),
        dims: [batch, heads, 0, size],
        type: 'float32',
      };
  return cache;
}

/** Logits [batch, tokens, vocabulary] of texts that are given in pieces of so many tokens; masks and positions are made as transformers.js makes them. */
export async function logitsInPieces(
  session: Session,
  { ids, padding }: Padded,
  pieces: readonly number[],
  empty: Feeds,
): Promise<Float32Array[][]> {
  const logits: Float32Array[][] = ids.map(() => []);
  let cache = empty;
  let begin = 0;
  for (const piece of pieces) {
    const end = begin + piece;
    const whole = (of: (text: number, token: number) => number, from: number) => ({
      data: BigInt64Array.from(
        ids.flatMap((_, text) => Array.from({ length: end - from }, (_, i) => BigInt(of(text, from + i)))),
      ),
      dims: [ids.length, end - from],
      type: 'int64' as const,
    });
    const feeds: Feeds = {
      input_ids: whole((text, token) => ids[text]![token]!, begin),
      attention_mask: whole((text, token) => Number(token >= padding[text]!), 0),
      position_ids: whole((text, token) => Math.max(token - padding[text]!, 0), begin),
      ...cache,
    };
    const names = Object.keys(empty).map((name) => name.replace('past_key_values', 'present'));
    const outputs = await runSession(session, feeds, ['logits', ...names], 'the network');
    const { data, dims } = outputs['logits']!;
    for (const [text, own] of logits.entries())
      for (let i = 0; i < piece; i++) {
        const at = (text * piece + i) * dims[2]!;
        own.push((data as Float32Array).slice(at, at + dims[2]!));
      }
    cache = Object.fromEntries(
      names.map((name) => [name.replace('present', 'past_key_values'), outputs[name]!]),
    );
    begin = end;
  }
  return logits;
}
