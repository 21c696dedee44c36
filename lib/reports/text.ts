import { styleText } from 'node:util';

/** A function that puts text in a style, or leaves it as it is. */
export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;

/** Whether there is colour is the caller's decision, not the environment's. */
export function painter(color: boolean): Paint {
  return color ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}

/** Text from a file, made harmless for a terminal: control characters as `\x1b` and the like. */
export function visible(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

/** At most `width` characters of `text`, with an ellipsis in its middle: names differ at both ends. */
export function shorten(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  if (width < 3) return characters.slice(0, width).join('');
  const head = Math.floor((width - 1) / 2);
  const tail = width - 1 - head;
  return `${characters.slice(0, head).join('')}…${characters.slice(characters.length - tail).join('')}`;
}

/**
 * `names`, each at most `width` characters long: without the parts of a path that all of them begin or end with, then with an
 * ellipsis in the middle.
 */
export function shortenNames(names: readonly string[], width: number): string[] {
  if (names.every((name) => name.length <= width)) return [...names];
  const parts = names.map((name) => name.split(/(?<=[/.])|(?=[/.])/));
  const least = Math.min(...parts.map(({ length }) => length)) - 1;
  const shared = (from: (list: string[], i: number) => string | undefined) => {
    let count = 0;
    while (
      names.length > 1 &&
      count < least &&
      parts.every((list) => from(list, count) === from(parts[0]!, count))
    )
      count++;
    return count;
  };
  const head = shared((list, i) => list[i]);
  const tail = Math.min(
    shared((list, i) => list.at(-1 - i)),
    least - head,
  );
  return parts.map((list) => {
    const rest = list.slice(head, list.length - tail).join('');
    const [before, after] = [head > 0 ? '…' : '', tail > 0 ? '…' : ''];
    return `${before}${shorten(rest, Math.max(1, width - before.length - after.length))}${after}`;
  });
}

/** Names by what is said of them, in the order in which it was first said. */
export function namesBy(said: Iterable<readonly [name: string, what: string]>): Map<string, string[]> {
  const lists = new Map<string, string[]>();
  for (const [name, what] of said) {
    const known = lists.get(what);
    if (known) known.push(name);
    else lists.set(what, [name]);
  }
  return lists;
}

/** The first few of `items`, and how many more there are. */
export function fewOf(items: readonly string[], most: number): string {
  return items.length <= most + 1
    ? items.join(', ')
    : `${items.slice(0, most).join(', ')} and ${items.length - most} more`;
}

/** Words as a POSIX shell takes them. */
export function commandLine(words: readonly string[]): string {
  const quoted = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  return words.map(quoted).join(' ');
}
