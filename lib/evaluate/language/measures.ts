import { Turns } from '../../yielding';
import type { Estimate, NextTokenMeasures } from './types';

/** Sums over a document's places at which the next token is known. */
interface DocumentSums {
  tokens: number;
  float: number;
  quantized: number;
  divergence: number;
  same: number;
}

/** Adds up what a quantized network says of next tokens beside the float one, by document. */
export class Measures {
  private readonly documents = new Map<number, DocumentSums>();
  /** Of all places, in the order in which they came. */
  private readonly divergences: Float32Array;
  private count = 0;

  constructor(tokens: number) {
    this.divergences = new Float32Array(tokens);
  }

  add(document: number, float: number, quantized: number, divergence: number, isSame: boolean): void {
    let own = this.documents.get(document);
    if (!own) this.documents.set(document, (own = { ...none }));
    own.tokens++;
    own.float += float;
    own.quantized += quantized;
    own.divergence += divergence;
    own.same += Number(isSame);
    this.divergences[this.count++] = divergence;
  }

  /** Of all documents together. */
  async total(): Promise<NextTokenMeasures> {
    const documents = [...this.documents.values()];
    const sum = { ...none };
    for (const own of documents)
      for (const key of Object.keys(sum) as (keyof DocumentSums)[]) sum[key] += own[key];
    const estimate = (of: (own: DocumentSums) => number) => meanOf(documents, sum.tokens, of);
    const [float, quantized] = [estimate((own) => own.float), estimate((own) => own.quantized)];
    return {
      tokens: sum.tokens,
      perplexity: { float: exponential(float), quantized: exponential(quantized) },
      // Of the same tokens: much of what tells documents apart is in both.
      perplexityRatio: exponential(estimate((own) => own.quantized - own.float)),
      klDivergence: estimate((own) => own.divergence),
      klDivergence999: await quantile(this.divergences.subarray(0, this.count), 0.999),
      sameNextToken: estimate((own) => own.same),
    };
  }

  /** Of each by itself, by its number. */
  byDocument(): Map<number, Omit<DocumentMeans, 'document'>> {
    const means = new Map<number, Omit<DocumentMeans, 'document'>>();
    for (const [document, { tokens, float, quantized, divergence, same }] of this.documents)
      means.set(document, {
        tokens,
        perplexity: { float: Math.exp(float / tokens), quantized: Math.exp(quantized / tokens) },
        klDivergence: divergence / tokens,
        sameNextToken: same / tokens,
      });
    return means;
  }
}

interface DocumentMeans {
  document: number;
  tokens: number;
  perplexity: { float: number; quantized: number };
  klDivergence: number;
  sameNextToken: number;
}

const none: DocumentSums = { tokens: 0, float: 0, quantized: 0, divergence: 0, same: 0 };

/**
 * The mean over all tokens. Those of a document are alike, so the standard error is that of a ratio of sums over documents, each of which is
 * one observation.
 */
function meanOf(
  documents: readonly DocumentSums[],
  tokens: number,
  of: (own: DocumentSums) => number,
): Estimate {
  const mean = documents.reduce((sum, own) => sum + of(own), 0) / tokens;
  const count = documents.length;
  if (count < 2) return { mean, standardError: null };
  const squares = documents.reduce((sum, own) => sum + (of(own) - mean * own.tokens) ** 2, 0);
  return { mean, standardError: Math.sqrt((squares * count) / (count - 1)) / tokens };
}

/** The standard error of eˣ is about eˣ times that of x. */
function exponential({ mean, standardError }: Estimate): Estimate {
  const value = Math.exp(mean);
  return { mean: value, standardError: standardError === null ? null : value * standardError };
}

/** The least of the numbers, none of them negative, that at least such a share of them does not exceed. */
export async function quantile(values: Float32Array, share: number): Promise<number> {
  // Numbers that are not negative are in the order of their bits.
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rank = Math.max(1, Math.ceil(share * values.length));
  const turns = new Turns();
  let [prefix, before] = [0, 0];
  for (const shift of [16, 0]) {
    const counts = new Uint32Array(2 ** 16);
    for (let i = 0; i < bits.length; i++) {
      if (shift === 16 || bits[i]! >>> 16 === prefix) counts[(bits[i]! >>> shift) & 0xffff]!++;
      if (i % 2 ** 16 === 0 && turns.due) await turns.next();
    }
    let digit = 0;
    while (before + counts[digit]! < rank) before += counts[digit++]!;
    prefix = shift === 16 ? digit : ((prefix << 16) | digit) >>> 0;
  }
  return new Float32Array(Uint32Array.of(prefix).buffer)[0]!;
}
