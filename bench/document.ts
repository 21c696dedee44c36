import { readFileSync, writeFileSync } from 'node:fs';
import { format, type Options } from 'prettier';

const style: Options = { singleQuote: true, printWidth: 110 };

/** The first column is text, the others are numbers. */
export function markdownTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...lines.map(line)].join('\n');
}

/** A table for the terminal and the document alike. */
export async function aligned(markdown: string): Promise<string> {
  return (await format(markdown, { ...style, parser: 'markdown' })).trimEnd();
}

/** Puts `text` between the comments <!-- name --> and <!-- /name --> of a document. */
export function fillIn(path: string, name: string, text: string): void {
  const document = readFileSync(path, 'utf8');
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [document.indexOf(open), document.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`${path}: no ${open} … ${close}`);
  writeFileSync(path, `${document.slice(0, start)}${open}\n\n${text}\n\n${document.slice(end)}`);
}

/** Writes results under `name`, beside those of other experiments. */
export async function keep(path: string, name: string, result: unknown): Promise<void> {
  let all: Record<string, unknown> = {};
  try {
    all = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const rounded = JSON.stringify({ ...all, [name]: result }, (_, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value,
  );
  writeFileSync(path, await format(rounded, { ...style, parser: 'json' }));
}
