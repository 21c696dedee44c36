// JSON that others wrote and that is handed on: what is not ours keeps its text.

/** A place in a text where JSON of another kind was expected. */
export class JsonError extends Error {}

/** A value and where it stands. */
export interface JsonNode {
  value: unknown;
  /** Of its first character, and after its last. */
  start: number;
  end: number;
  /** Of an object: its members, of equal names the last one; else null. */
  members: ReadonlyMap<string, JsonNode> | null;
}

/** Deeper than any reader goes: Python's own stops before. */
const maxDepth = 2000;
const space = /[ \t\r\n]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const word = /true|false|null|NaN|-?Infinity/y;
const words = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);
const byteOrderMark = '\ufeff';
const quote = 0x22;
const backslash = 0x5c;
const firstPrintable = 0x20;

/** Reads JSON as Python does: also with NaN, Infinity and a byte-order mark. Throws a JsonError. */
export function parseJson(text: string): JsonNode {
  return new Parser(text).all();
}

class Parser {
  private at: number;
  private depth = 0;

  constructor(private readonly text: string) {
    this.at = text.startsWith(byteOrderMark) ? 1 : 0;
  }

  all(): JsonNode {
    const node = this.value();
    this.skipSpace();
    if (this.at < this.text.length) this.fail('the end');
    return node;
  }

  private fail(expected: string): never {
    const found = this.text.slice(this.at, this.at + 20);
    throw new JsonError(
      `expected ${expected} at character ${this.at}, not ${found === '' ? 'the end' : JSON.stringify(found)}`,
    );
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  private skipSpace(): void {
    this.match(space);
  }

  private take(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private value(): JsonNode {
    this.skipSpace();
    const start = this.at;
    let members: Map<string, JsonNode> | null = null;
    let value: unknown;
    const first = this.text[start];
    if (first === '{') {
      members = this.inside(() => this.object());
      value = Object.fromEntries([...members].map(([key, node]) => [key, node.value]));
    } else if (first === '[') value = this.inside(() => this.array());
    else if (first === '"') value = this.string();
    else {
      const found = this.match(word);
      value = found === undefined ? Number(this.match(number) ?? this.fail('a value')) : words.get(found);
    }
    return { value, start, end: this.at, members };
  }

  private inside<Result>(read: () => Result): Result {
    if (++this.depth > maxDepth) throw new JsonError(`it nests deeper than ${maxDepth} levels`);
    this.at++;
    const result = read();
    this.depth--;
    return result;
  }

  private object(): Map<string, JsonNode> {
    const members = new Map<string, JsonNode>();
    if (this.take('}')) return members;
    do {
      this.skipSpace();
      if (this.text[this.at] !== '"') this.fail('the name of a member');
      const key = this.string();
      if (!this.take(':')) this.fail('":"');
      members.set(key, this.value());
    } while (this.take(','));
    if (!this.take('}')) this.fail('"," or "}"');
    return members;
  }

  private array(): unknown[] {
    const list: unknown[] = [];
    if (this.take(']')) return list;
    do list.push(this.value().value);
    while (this.take(','));
    if (!this.take(']')) this.fail('"," or "]"');
    return list;
  }

  private string(): string {
    const start = this.at++;
    for (let code; (code = this.text.charCodeAt(this.at)) !== quote; this.at++) {
      if (!(code >= firstPrintable)) this.fail('the end of a string');
      if (code === backslash) this.at++;
    }
    this.at++;
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string;
    } catch {
      this.at = start;
      return this.fail('a string with valid escapes');
    }
  }
}

/**
 * `text` with a member of one of its objects, at `path` from the outermost, set to `value`; it takes its place where there is one of that
 * name, else it comes last, indented as the others are. Every other character stays. Throws a JsonError where there is no such object.
 */
export function withMember(text: string, path: readonly string[], value: unknown): string {
  let object = parseJson(text);
  const key = path.at(-1)!;
  for (const name of path.slice(0, -1)) {
    const next = object.members?.get(name);
    if (!next) throw new JsonError(`it has no ${JSON.stringify(path.slice(0, -1).join('.'))}`);
    object = next;
  }
  if (!object.members) throw new JsonError('expected an object');
  const opened = /^\{([ \t\r\n]*)/.exec(text.slice(object.start, object.start + 1000))![1]!;
  const before = object.members.size > 0 ? opened : '';
  const written = indented(value, before, path.length);
  const old = object.members.get(key);
  if (old) return text.slice(0, old.start) + written + text.slice(old.end);
  // After the last member, whichever name it has.
  let end = object.end - 1;
  while (/[ \t\r\n]/.test(text[end - 1]!)) end--;
  const member = `${JSON.stringify(key)}:${before === '' ? '' : ' '}${written}`;
  const comma = object.members.size === 0 ? '' : before === '' ? ',' : `,${before}`;
  return text.slice(0, end) + comma + member + text.slice(end);
}

/** A value's text, on several lines where the members before it stand on lines of their own. */
function indented(value: unknown, before: string, depth: number): string {
  const line = before.lastIndexOf('\n');
  if (line < 0) return JSON.stringify(value);
  const own = before.slice(line + 1);
  const step = own.slice(0, Math.max(1, Math.floor(own.length / depth)));
  const newLine = before.includes('\r\n') ? '\r\n' : '\n';
  return JSON.stringify(value, null, step).replaceAll('\n', newLine + own);
}
