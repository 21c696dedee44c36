import { defaultMethod, methods } from '../methods';

const width = 120;
const indent = 13;

/** A paragraph on each method. */
export function methodsHelp(): string {
  const paragraphs = methods.map(({ name, about, needsData }) => {
    const isDefault = name === defaultMethod(true) ? ['The default with data.'] : [];
    const notes = needsData ? isDefault : ['Needs no data: the default without.'];
    return `  ${name.padEnd(indent - 2)}${wrap([about, ...notes].join(' '))}`;
  });
  return `Methods:\n${paragraphs.join('\n')}\n`;
}

function wrap(text: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (indent + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}
