/** The vocabulary of `vocab.json`: piece and log-probability by id; seven pieces have no score. */
export type Vocabulary = [piece: string, score: number | null][];

/** The ids below this one stand for no text: unknown, start, end and spares. */
const reservedIds = 6;
const unknownId = 0;
/** SentencePiece writes a space as this character, and puts one before the text. */
const space = '\u2581';

/**
 * Splits text into the pieces of the highest total score (a SentencePiece unigram model, by Viterbi).
 *
 * Gives the ids that @energetic-ai/embeddings gives, whose arithmetic it follows to the letter: a missing
 * score and an unknown character count 0, a total of 0 is taken for "none yet", and of equal totals the one
 * whose last piece is shorter wins.
 */
export class SentenceTokenizer {
  readonly #pieces = new Map<string, { id: number; score: number }>();
  readonly #lengths: readonly number[];
  readonly #longest: number;

  constructor(vocabulary: Vocabulary) {
    this.#lengths = vocabulary.map(([piece]) => [...piece].length);
    vocabulary.forEach(([piece, score], id) => {
      if (id >= reservedIds) this.#pieces.set(piece, { id, score: score ?? 0 });
    });
    this.#longest = this.#lengths.reduce((a, b) => Math.max(a, b), 0);
  }

  /** The token ids of `text`; none for the empty text. A run of unknown characters is one id. */
  encode(text: string): number[] {
    const normalized = text.normalize('NFKC');
    if (normalized === '') return [];
    return this.#traceBack(this.#lastPieces([space, ...normalized.replaceAll(' ', space)]));
  }

  /** For every length n, the id of the last piece in the best split of the first n characters. */
  #lastPieces(characters: string[]): number[] {
    const total = new Array<number>(characters.length + 1).fill(0);
    const last = new Array<number>(characters.length + 1).fill(unknownId);
    for (let start = 0; start < characters.length; start++) {
      const extend = (end: number, id: number, score: number) => {
        const sum = score + total[start]!;
        if (total[end] !== 0 && sum < total[end]!) return;
        total[end] = sum;
        last[end] = id;
      };
      let text = '';
      let found = false;
      for (let end = start + 1; end <= Math.min(characters.length, start + this.#longest); end++) {
        text += characters[end - 1]!;
        const piece = this.#pieces.get(text);
        if (piece === undefined) continue;
        extend(end, piece.id, piece.score);
        found = true;
      }
      if (!found) extend(start + 1, unknownId, 0);
    }
    return last;
  }

  #traceBack(last: number[]): number[] {
    const ids: number[] = [];
    for (let end = last.length - 1; end > 0; end -= this.#lengths[last[end]!]!) {
      const id = last[end]!;
      if (id !== unknownId || ids.at(-1) !== unknownId) ids.push(id);
    }
    return ids.reverse();
  }
}
