import { describe } from '../../options/messages';

/** What the steps of a tokenizer may make of a text, for each of its characters and in all: NFKC makes 18 of one, nothing more. */
const growth = 64;
const freeGrowth = 2 ** 16;

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** A step of the tokenizers library, or a sequence of such. */
type Step = Record<string, unknown>;

/**
 * Lets each step of a tokenizer that replaces parts of a text throw where its output is much longer than the text: some that each
 * double it make no end of it. The function that it returns is told of each text before that is encoded.
 */
export function boundGrowth(tokenizer: {
  normalizer: unknown;
  pre_tokenizer: unknown;
}): (text: string) => void {
  const left: number[] = [];
  let most = 0;
  const bound = (step: unknown, method: string, lists: readonly string[]) => {
    if (typeof step !== 'function' && (typeof step !== 'object' || step === null)) return;
    const found = step as unknown as Step;
    const inner = lists.flatMap((name) => (Array.isArray(found[name]) ? (found[name] as unknown[]) : []));
    for (const one of inner) bound(one, method, lists);
    const original = found[method];
    if (inner.length > 0 || typeof original !== 'function') return;
    const index = left.push(0) - 1;
    found[method] = function (...args: unknown[]): unknown {
      const output = (original as Method).apply(step, args);
      const parts: readonly unknown[] = Array.isArray(output) ? output : [output];
      for (const part of parts) if (typeof part === 'string') left[index]! -= part.length;
      if (left[index]! < 0)
        throw new Error(`its step ${describe(typeOf(found))} makes more than ${most} characters of it`);
      return output;
    };
  };
  bound(tokenizer.normalizer, 'normalize', ['normalizers']);
  bound(tokenizer.pre_tokenizer, 'pre_tokenize_text', ['tokenizers']);
  return (text) => {
    most = growth * text.length + freeGrowth;
    left.fill(most);
  };
}

function typeOf({ config }: Step): unknown {
  return typeof config === 'object' && config !== null ? (config as Step)['type'] : undefined;
}
