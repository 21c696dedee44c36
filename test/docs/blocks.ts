// The blocks of code in a document.

export interface Block {
  language: string;
  /** Of its first line in the document, from 1. */
  line: number;
  text: string;
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for (const [i, line] of markdown.split('\n').entries()) {
    const fence = /^\s*```(\w*)/.exec(line);
    if (!fence) {
      if (open) open.text += `${line}\n`;
    } else if (open) {
      blocks.push(open);
      open = undefined;
    } else open = { language: fence[1]!, line: i + 2, text: '' };
  }
  return blocks;
}

/** The commands of a block of shell, without comments. */
export const commandsOf = ({ text }: Block): string[] =>
  text
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter(Boolean);

/** A module as a script of CommonJS. */
export function asCommonJs(module: string): string {
  const imports: string[] = [];
  const body = module.replace(/^import ([^']*) from '(.*)';$/gm, (_, names: string, from: string) => {
    imports.push(`const ${names.replace(/ as /g, ': ')} = require('${from}');`);
    return '';
  });
  return `${imports.join('\n')}\n(async () => {\n${body}\n})().catch((error) => {\n  console.error(error);\n  process.exitCode = 1;\n});\n`;
}
