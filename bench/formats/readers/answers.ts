// What readers said of what was written, as a table that says equal things once.
import { shorten } from '../../../lib/reports/text';
import { markdownTable } from '../../document';

/** How far what a reader gives is from the same weights as floats; or why it does not take the file. */
export type Answer = { error: number } | { failure: string };

/** One way to write weights, in the words of the table: what, grid, grouping. */
export interface Choice {
  words: readonly string[];
  bits: number;
  /** How far a reader's sums may be from ours. */
  tolerance: number;
}

/** By choice, by reader. */
export class Answers {
  readonly #tolerances = new Map<string, number>();
  readonly #lines = new Map<string, { choice: Choice; answers: Map<string, Answer> }>();

  /** `tolerance`: of a reader by itself. */
  note(choice: Choice, reader: string, answer: Answer, tolerance = 0): void {
    this.#tolerances.set(reader, tolerance);
    const key = [...choice.words, `${choice.bits} bits`].join(', ');
    const line = this.#lines.get(key) ?? { choice, answers: new Map<string, Answer>() };
    this.#lines.set(key, line);
    const known = line.answers.get(reader);
    // The worst of several networks.
    if (known && ('failure' in known || ('error' in answer && answer.error <= known.error))) return;
    line.answers.set(reader, answer);
  }

  all(): Record<string, Record<string, Answer>> {
    return Object.fromEntries(
      [...this.#lines].map(([key, { answers }]) => [key, Object.fromEntries(answers)]),
    );
  }

  /** A line for all choices that readers say the same of; in the cells, widths; below, what goes wrong. */
  table(head: readonly string[]): string {
    const readers = [...new Set([...this.#lines.values()].flatMap(({ answers }) => [...answers.keys()]))];
    const foot: string[] = [];
    const lines = new Map<string, { words: readonly string[]; widths: Map<number, string[]> }>();
    for (const { choice, answers } of this.#lines.values()) {
      const key = choice.words.join('\n');
      const line = lines.get(key) ?? { words: choice.words, widths: new Map<number, string[]>() };
      lines.set(key, line);
      line.widths.set(
        choice.bits,
        readers.map((reader) => {
          const tolerance = Math.max(choice.tolerance, this.#tolerances.get(reader)!);
          return verdict(answers.get(reader), tolerance, foot);
        }),
      );
    }
    let rows: Row[] = [...lines.values()].map(({ words, widths }) => ({
      words,
      cells: [spans([...widths.keys()]), ...readers.map((_, i) => cellOf(widths, i))],
    }));
    // Groupings that are alike first, then grids, then what is written.
    for (let place = head.length - 1; place >= 0; place--) rows = joined(rows, place);
    const table = markdownTable(
      [...head, 'bits', ...readers],
      rows.map(({ words, cells }) => [...words, ...cells]),
    );
    return [table, '', ...foot.map((text, i) => `- (${i + 1}) ${text.replaceAll(/[<>*_]/g, '\\$&')}`)].join(
      '\n',
    );
  }
}

interface Row {
  words: readonly string[];
  cells: readonly string[];
}

/** Rows that differ in one word alone are one. */
function joined(rows: readonly Row[], place: number): Row[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.words.filter((_, i) => i !== place), row.cells]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((group) => ({
    words: group[0]!.words.map((word, i) =>
      i === place ? group.map(({ words }) => words[place]!).join(' / ') : word,
    ),
    cells: group[0]!.cells,
  }));
}

/** '' where it is well. */
function verdict(answer: Answer | undefined, tolerance: number, foot: string[]): string {
  if (!answer) return 'not tried';
  if ('error' in answer) return answer.error <= tolerance ? '' : `${answer.error.toExponential(0)} off`;
  // One footnote for each kind of failure: numbers and names of single tensors make no other kind; what it is about stands at either end.
  const words = answer.failure
    .replaceAll(/\/\S*\/|"[^"]*"|'[^']*'/g, '…')
    .replaceAll(/\d+/g, (digits) => (digits.length > 1 ? '#' : digits))
    .replaceAll(/\s+|\|/g, ' ');
  const text = shorten(words, 240);
  if (!foot.includes(text)) foot.push(text);
  return `no (${foot.indexOf(text) + 1})`;
}

function cellOf(widths: ReadonlyMap<number, string[]>, reader: number): string {
  const byVerdict = new Map<string, number[]>();
  for (const [bits, verdicts] of widths)
    byVerdict.set(verdicts[reader]!, [...(byVerdict.get(verdicts[reader]!) ?? []), bits]);
  if (byVerdict.size === 1) return [...byVerdict.keys()][0]! || 'yes';
  const good = byVerdict.get('');
  byVerdict.delete('');
  return [
    ...(good ? [spans(good)] : []),
    ...[...byVerdict].map(([what, bits]) => `${spans(bits)}: ${what}`),
  ].join('; ');
}

/** 2, 3, 4, 8 as "2–4, 8". */
function spans(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let begin = 0, end = 0; begin < sorted.length; begin = ++end) {
    while (sorted[end + 1] === sorted[end]! + 1) end++;
    parts.push(begin === end ? `${sorted[begin]}` : `${sorted[begin]}–${sorted[end]}`);
  }
  return parts.join(', ');
}
