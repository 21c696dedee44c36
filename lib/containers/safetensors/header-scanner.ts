import { describe } from '../../options/messages';
import type { Turns } from '../../yielding';

/** A place in a header where something else was expected. */
export class HeaderError extends Error {}

const scalar = /-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity/y;
const opening = /[[{]/y;
const closing = /[\]}]/y;
const between = /[,:]/y;
const zero = 0x30;
const nine = 0x39;
const quote = 0x22;
const backslash = 0x5c;
const firstPrintable = 0x20;
/** More than any tensor has. */
const maxRank = 255;

/**
 * Reads the JSON of a header piece by piece. It takes only what a header may hold, so nothing nests, no key is lost as JSON.parse
 * loses the first of two equal ones, and a name is never a member of an object.
 */
export class HeaderScanner {
  /** The tensor that is being read, by its name. */
  subject: string | null = null;

  constructor(
    private readonly text: string,
    private readonly what = 'the header',
    /** Where to begin. */
    private at = 0,
  ) {}

  /** Of the character that comes next. */
  get position(): number {
    return this.at;
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  fail(expected: string, at = this.at): never {
    const found = this.text.slice(at, at + 20);
    const owner = this.subject === null ? '' : `tensor ${describe(this.subject)}: `;
    throw new HeaderError(
      `${owner}expected ${expected} at character ${at} of ${this.what}, not ${found === '' ? 'its end' : JSON.stringify(found)}`,
    );
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }

  /** Whether the next character is this one; then it is behind us. */
  take(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  expect(character: string): void {
    if (!this.take(character)) this.fail(`"${character}"`);
  }

  /** Throws unless nothing but white space is left. */
  end(): void {
    this.skipSpace();
    if (this.at < this.text.length) this.fail('the end');
  }

  string(what: string): string {
    if (!this.take('"')) this.fail(what);
    const start = this.at;
    let hasEscapes = false;
    let at = start;
    for (let code; (code = this.text.charCodeAt(at)) !== quote; at++) {
      if (!(code >= firstPrintable)) this.fail(`the end of ${what}`, at);
      if (code === backslash) {
        hasEscapes = true;
        at++;
      }
    }
    this.at = at + 1;
    const raw = this.text.slice(start, at);
    return hasEscapes ? this.unescaped(raw, what, start) : raw;
  }

  private unescaped(raw: string, what: string, start: number): string {
    let text: string;
    try {
      text = JSON.parse(`"${raw}"`) as string;
    } catch {
      this.fail(`${what} with valid escapes`, start);
    }
    // Half a surrogate pair has no UTF-8: two such names would become one when they are written.
    if (/\p{Surrogate}/u.test(text)) this.fail(`${what} in valid Unicode`, start);
    return text;
  }

  /** A whole number from 0 that a float64 number holds exactly. */
  count(what: string): number {
    this.skipSpace();
    const start = this.at;
    let value = 0;
    for (let code; (code = this.text.charCodeAt(this.at)) >= zero && code <= nine; this.at++)
      value = value * 10 + (code - zero);
    const next = this.text[this.at];
    const isWhole = this.at > start && next !== '.' && next !== 'e' && next !== 'E';
    if (!isWhole || (this.text.charCodeAt(start) === zero && this.at > start + 1))
      this.fail(`${what}, a whole number from 0,`, start);
    if (value > Number.MAX_SAFE_INTEGER) this.fail(`${what} below 2^53`, start);
    return value;
  }

  counts(what: string): number[] {
    const list: number[] = [];
    this.expect('[');
    if (this.take(']')) return list;
    do {
      if (list.length === maxRank) this.fail(`at most ${maxRank} numbers`);
      list.push(this.count(what));
    } while (this.take(','));
    this.expect(']');
    return list;
  }

  /** Calls `member` with each key of an object; it reads the value. */
  object(what: string, member: (key: string) => void): void {
    this.expect('{');
    if (this.take('}')) return;
    do {
      const key = this.string(`the name of ${what}`);
      this.expect(':');
      member(key);
    } while (this.take(','));
    this.expect('}');
  }

  /** Likewise for an object of very many members: the event loop goes on meanwhile. */
  async longObject(what: string, turns: Turns, member: (key: string) => void | Promise<void>): Promise<void> {
    this.expect('{');
    if (this.take('}')) return;
    do {
      const key = this.string(`the name of ${what}`);
      this.expect(':');
      const pending = member(key);
      if (pending) await pending;
      if (turns.due) await turns.next();
    } while (this.take(','));
    this.expect('}');
  }

  /** The text of a value of any kind, however deep. What is between its brackets is left for JSON.parse to judge. */
  anything(what: string): string {
    this.skipSpace();
    const start = this.at;
    let depth = 0;
    do {
      this.skipSpace();
      const next = this.text[this.at];
      if (next === undefined) this.fail(`the end of ${what}`);
      if (next === '"') this.string(what);
      else if (this.match(scalar)) continue;
      else if (this.match(opening)) depth++;
      else if (this.match(closing)) depth--;
      else if (depth === 0 || !this.match(between)) this.fail(what);
    } while (depth > 0);
    return this.text.slice(start, this.at);
  }
}
