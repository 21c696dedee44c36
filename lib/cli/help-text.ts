/** Columns that help takes at the most, in wider terminals too. */
export const helpWidth = 100;

/** Lines of a source that are longer than this go on in the next one, where that begins at the same column. */
const goesOn = 80;

/**
 * Text for the end of a command's help, with no line longer than `width`. Paragraphs are filled anew; what follows two spaces or more, as in a
 * table, goes on below where it begins; commands go on after a backslash, as they can be pasted.
 */
export function helpText(text: string, width = helpWidth): string {
  const lines: string[] = [];
  let last = '';
  for (const line of text.split('\n')) {
    const before = lines.at(-1) ?? '';
    const isSame = /^ */.exec(line)![0].length === beginOf(before).length;
    if (last.length > goesOn && line !== '' && isSame && !isCommand(line) && !isCommand(before))
      lines[lines.length - 1] = `${before} ${line.trim()}`;
    else lines.push(line);
    last = line;
  }
  return lines.flatMap((line) => (line.length <= width ? [line] : wrapped(line, width))).join('\n');
}

const isCommand = (line: string) => /^\s*\$ /.test(line);

/** What is before the text of a line: its indentation, and its term in a table. */
const beginOf = (line: string) => /^\s*(?:\S+(?: \S+)* {2,})?/.exec(line)![0];

function wrapped(line: string, width: number): string[] {
  const command = /^(\s*\$ )(.*?)(?: {2,}(\S.*))?$/.exec(line);
  if (command) {
    const [, prompt, words, remark] = command as unknown as [string, string, string, string | undefined];
    // Flags stay with their values.
    const parts = words.split(/ (?=--?[a-z]|\| jq)/);
    const lines = filled(parts, prompt, `${' '.repeat(prompt.length)}  `, width - 2);
    const typed = lines.map((own, i) => (i < lines.length - 1 ? `${own} \\` : own));
    return remark === undefined ? typed : [`${' '.repeat(prompt.length)}# ${remark}`, ...typed];
  }
  const begin = beginOf(line);
  return filled(line.slice(begin.length).split(' '), begin, ' '.repeat(begin.length), width);
}

function filled(words: readonly string[], begin: string, next: string, width: number): string[] {
  const lines: string[] = [];
  let line = begin + words[0]!;
  for (const word of words.slice(1)) {
    if (line.length + 1 + word.length <= width) line += ` ${word}`;
    else {
      lines.push(line);
      line = next + word;
    }
  }
  return [...lines, line];
}
