// Globs with groups (`@(a|b)`, `?()`, `*()`, `+()`, `!()`), nested braces, ranges, escapes, folders and negation, as automata: all ways
// of matching are followed side by side, so that time is linear in a name's length for each part of the pattern. A regular expression
// for `+(*a|*b)` would try them one after the other, which takes time without end.

type Test = (character: string) => boolean;

type Node =
  | { kind: 'one'; test: Test }
  | { kind: 'all'; nodes: Node[] }
  | { kind: 'any'; nodes: Node[] }
  | { kind: 'some'; node: Node; least: 0 | 1; most: number }
  | { kind: 'not'; node: Node };

const character = (text: string): Node => ({ kind: 'one', test: (other) => other === text });
const literal = (text: string): Node => ({ kind: 'all', nodes: [...text.split('')].map(character) });
const optional = (node: Node): Node => ({ kind: 'some', node, least: 0, most: 1 });
const repeated = (node: Node, least: 0 | 1): Node => ({ kind: 'some', node, least, most: Infinity });
const anything = repeated({ kind: 'one', test: () => true }, 0);

/** A range of braces stands for at most so many. */
const longestRange = 256;

/** Reads a glob. Unbalanced brackets stand for themselves, as in a shell. */
class Parser {
  private at = 0;
  private parens = 0;

  constructor(private readonly pattern: string) {}

  whole(): Node {
    return this.sequence('');
  }

  /** Up to one of `ends` at this level, or the pattern's end. */
  private sequence(ends: string): Node {
    const nodes: Node[] = [];
    const begin = this.at;
    while (this.at < this.pattern.length && !ends.includes(this.pattern[this.at]!)) {
      const from = this.at;
      const node = this.next(from === begin || this.pattern[from - 1] === '/');
      // As in a regular expression: behind brackets, but those of `@(…)` and its like, and within parentheses behind anything.
      const isGroup = this.at > from + 1 && '([{'.includes(this.pattern[from]!);
      const isRepeated = this.pattern[this.at] === '+' && this.pattern[this.at + 1] !== '(';
      if (isRepeated && (isGroup || this.parens > 0)) {
        this.at++;
        nodes.push(repeated(node, 1));
      } else nodes.push(node);
    }
    return { kind: 'all', nodes };
  }

  private next(beginsFolder: boolean): Node {
    const { pattern } = this;
    const rest = pattern.slice(this.at, this.at + 3);
    if (beginsFolder && rest === '**/') {
      this.at += 3;
      return optional({ kind: 'all', nodes: [anything, character('/')] });
    }
    if (rest === '/**' && this.at + 3 === pattern.length) {
      this.at += 3;
      return optional({ kind: 'all', nodes: [character('/'), anything] });
    }
    const [first, second] = rest;
    if (second === '(' && '@?*+!'.includes(first!)) {
      const group = this.group(this.at + 1);
      if (group) return quantified(group, first!);
    }
    switch (first) {
      case '\\':
        this.at += second === undefined ? 1 : 2;
        return character(second ?? '\\');
      case '"':
        return this.quoted() ?? this.plain();
      case '(':
        return this.group(this.at) ?? this.plain();
      case '[':
        return this.bracket() ?? this.plain();
      case '{':
        return this.brace() ?? this.plain();
      case '*':
        while (pattern[this.at] === '*' && pattern[this.at + 1] !== '(') this.at++;
        if (pattern[this.at] === '*' && this.closing(this.at + 1, '(', ')') < 0) this.at++;
        return anything;
      case '?':
        this.at++;
        return { kind: 'one', test: (other) => other !== '/' };
      default:
        return this.plain();
    }
  }

  private plain(): Node {
    return character(this.pattern[this.at++]!);
  }

  private quoted(): Node | null {
    const close = this.pattern.indexOf('"', this.at + 1);
    if (close < 0) return null;
    const text = this.pattern.slice(this.at + 1, close);
    this.at = close + 1;
    return literal(text);
  }

  /** The alternatives between parentheses that open at `open`. */
  private group(open: number): Node | null {
    if (this.closing(open, '(', ')') < 0) return null;
    this.parens++;
    const nodes = this.alternatives(open, '|', ')');
    this.parens--;
    return { kind: 'any', nodes };
  }

  private alternatives(open: number, separator: string, close: string): Node[] {
    const nodes: Node[] = [];
    this.at = open;
    do {
      this.at++;
      nodes.push(this.sequence(separator + close));
    } while (this.pattern[this.at] === separator);
    this.at++;
    return nodes;
  }

  private brace(): Node | null {
    const close = this.closing(this.at, '{', '}');
    if (close < 0) return null;
    const inner = this.pattern.slice(this.at + 1, close);
    const range = /^(-?\d+|[a-zA-Z])\.\.(-?\d+|[a-zA-Z])$/.exec(inner);
    if (range) {
      this.at = close + 1;
      return { kind: 'any', nodes: rangeOf(range[1]!, range[2]!).map(literal) };
    }
    const begin = this.at;
    const nodes = this.alternatives(begin, ',', '}');
    if (nodes.length > 1) return { kind: 'any', nodes };
    this.at = begin;
    return null;
  }

  private bracket(): Node | null {
    const { pattern } = this;
    const close = this.bracketEnd(this.at);
    if (close < 0) return null;
    const inner = pattern.slice(this.at + 1, close);
    this.at = close + 1;
    // One character long: no way to backtrack.
    const expression = new RegExp(`^[${inner.replaceAll('[', '\\[')}]$`);
    return { kind: 'one', test: (other) => expression.test(other) };
  }

  /** Where the bracket that opens at `open` closes: its first character may be a bracket itself. */
  private bracketEnd(open: number): number {
    let at = open + (this.pattern[open + 1] === '^' ? 2 : 1);
    for (at++; at < this.pattern.length; at++) {
      if (this.pattern[at - 1] === '\\') at++;
      if (this.pattern[at] === ']') return at;
    }
    return -1;
  }

  /** Where what opens at `open` closes; −1 where it does not. */
  private closing(open: number, opening: string, ending: string): number {
    let depth = 0;
    for (let at = open; at < this.pattern.length; at++) {
      const now = this.pattern[at];
      if (now === '\\') at++;
      else if (now === '[') at = Math.max(at, this.bracketEnd(at));
      else if (now === opening) depth++;
      else if (now === ending && --depth === 0) return at;
    }
    return -1;
  }
}

function quantified(group: Node, by: string): Node {
  if (by === '@') return group;
  if (by === '!') return { kind: 'not', node: group };
  return by === '?' ? optional(group) : repeated(group, by === '+' ? 1 : 0);
}

function rangeOf(from: string, to: string): string[] {
  const isText = /[a-zA-Z]/.test(from + to);
  const [first, last] = [from, to].map((end) => (isText ? end.charCodeAt(0) : Number(end))) as [
    number,
    number,
  ];
  const count = Math.abs(last - first) + 1;
  if (count > longestRange)
    throw new RangeError(`{${from}..${to}} stands for ${count} names: expected at most ${longestRange}`);
  return Array.from({ length: count }, (_, i) => {
    const value = Math.min(first, last) + i;
    return isText ? String.fromCharCode(value) : String(value);
  });
}

/** A state of an automaton, by its place in a list. The first is the end. */
type State =
  | { kind: 'end' }
  | { kind: 'one'; test: Test; next: number }
  | { kind: 'split'; next: number[] }
  /** Goes on from everywhere but where the automaton from `inner` on ends. */
  | { kind: 'not'; inner: number; next: number };

const end = 0;

class Automaton {
  readonly states: State[] = [{ kind: 'end' }];
  readonly start: number;

  constructor(node: Node) {
    this.start = this.add(node, end);
  }

  private push(state: State): number {
    return this.states.push(state) - 1;
  }

  /** Adds what matches `node` and goes on at `next`: where it begins. */
  private add(node: Node, next: number): number {
    switch (node.kind) {
      case 'one':
        return this.push({ kind: 'one', test: node.test, next });
      case 'all':
        return node.nodes.reduceRight((behind, part) => this.add(part, behind), next);
      case 'any':
        return this.push({ kind: 'split', next: node.nodes.map((part) => this.add(part, next)) });
      case 'not':
        return this.push({ kind: 'not', inner: this.add(node.node, end), next });
      case 'some': {
        const ways = [next];
        const split = this.push({ kind: 'split', next: ways });
        const body = this.add(node.node, node.most === 1 ? next : split);
        ways.push(body);
        return node.least === 1 ? body : split;
      }
    }
  }
}

/** What the automata within negations may take for a name: each has to be followed from every place on where it is met. */
const mostSteps = 2 ** 21;

/** How often a `not` state has been entered, and how often of these its inner automaton ends at a place: elsewhere it goes on. */
interface Entered {
  times: number;
  excluded: Map<number, number>;
}

/** Follows an automaton over one name. */
class Run {
  private steps = 0;
  private depth = 0;
  /** Of inner automata, by where they begin. */
  private readonly ends = new Map<number, number[]>();

  constructor(
    private readonly states: readonly State[],
    private readonly name: string,
  ) {}

  /** Where the automaton from `start` on may end when it begins at `from`, in order. */
  endsOf(start: number, from: number): number[] {
    const { name, states } = this;
    const found: number[] = [];
    const entered = new Map<number, Entered>();
    /** By state: the last place where it was, from 1 on. */
    const seen = new Uint32Array(states.length);
    let [now, later]: [number[], number[]] = [[start], []];
    for (let at = from; at <= name.length && (now.length > 0 || entered.size > 0); at++) {
      const letter = name[at];
      let count = 0;
      const follow = () => {
        for (let index = now.pop(); index !== undefined; index = now.pop()) {
          if (seen[index] === at + 1) continue;
          seen[index] = at + 1;
          count++;
          const state = states[index]!;
          if (state.kind === 'end') found.push(at);
          else if (state.kind === 'split') for (const next of state.next) now.push(next);
          else if (state.kind === 'not') this.enter(entered, index, state.inner, at);
          else if (letter !== undefined && state.test(letter)) later.push(state.next);
        }
      };
      follow();
      for (let isNew = true; isNew;) {
        isNew = false;
        count += entered.size;
        for (const [index, { times, excluded }] of entered) {
          const { next } = states[index] as { next: number };
          if (times === (excluded.get(at) ?? 0) || seen[next] === at + 1) continue;
          now.push(next);
          follow();
          isNew = true;
        }
      }
      this.take(count);
      [now, later] = [later, now];
    }
    return found;
  }

  private take(steps: number): void {
    if (this.depth > 0 && (this.steps += steps) > mostSteps) throw new RangeError('it takes too long');
  }

  private enter(entered: Map<number, Entered>, index: number, inner: number, at: number): void {
    const own = entered.get(index) ?? { times: 0, excluded: new Map<number, number>() };
    entered.set(index, own);
    own.times++;
    const key = index * (this.name.length + 1) + at;
    this.depth++;
    let ends = this.ends.get(key);
    if (!ends) this.ends.set(key, (ends = this.endsOf(inner, at)));
    this.take(ends.length);
    this.depth--;
    for (const place of ends) own.excluded.set(place, (own.excluded.get(place) ?? 0) + 1);
  }
}

/** All states that a name may be in at once, of an automaton without negations, and where each character leads from there. */
interface Together {
  ones: readonly { test: Test; next: number }[];
  isEnd: boolean;
  behind: Map<string, Together>;
}

/** Of those that are kept. */
const mostTogether = 4096;

/** Follows an automaton without negations: what was found out for a name is known for the next ones. */
class Follower {
  private readonly known = new Map<string, Together>();
  private kept = 0;

  constructor(
    private readonly states: readonly State[],
    private readonly start: number,
  ) {}

  matches(name: string): boolean {
    if (this.kept > mostTogether) {
      this.known.clear();
      this.kept = 0;
    }
    let now = this.together([this.start]);
    for (let at = 0; at < name.length && now.ones.length > 0; at++) {
      const letter = name[at]!;
      let next = now.behind.get(letter);
      if (!next) {
        next = this.together(now.ones.filter(({ test }) => test(letter)).map(({ next: to }) => to));
        now.behind.set(letter, next);
        this.kept++;
      }
      now = next;
      if (at === name.length - 1) return now.isEnd;
    }
    return false;
  }

  /** States, and all that are reached from them without a character. */
  private together(from: readonly number[]): Together {
    const reached = new Set(from);
    for (const index of reached) {
      const state = this.states[index]!;
      if (state.kind === 'split') for (const next of state.next) reached.add(next);
    }
    const all = [...reached].sort((a, b) => a - b);
    const key = all.join();
    const known = this.known.get(key);
    if (known) return known;
    const ones = all.map((index) => this.states[index]!).filter((state) => state.kind === 'one');
    const made = { ones, isEnd: reached.has(end), behind: new Map<string, Together>() };
    this.known.set(key, made);
    return made;
  }
}

/** Whether a name matches a glob. Throws a RangeError for one that stands for too much; the matcher, for a name that takes too long. */
export function patternMatcher(pattern: string): (name: string) => boolean {
  const [negations = ''] = /^(?:!(?!\())*/.exec(pattern)!;
  const text = pattern.slice(negations.length).replace(/^\.\//, '');
  const isNegated = negations.length % 2 === 1;
  const { states, start } = new Automaton(new Parser(text).whole());
  if (!states.some(({ kind }) => kind === 'not')) {
    const follower = new Follower(states, start);
    return (name) => name !== '' && follower.matches(name) !== isNegated;
  }
  return (name) => {
    if (name === '') return false;
    try {
      return new Run(states, name).endsOf(start, 0).at(-1) === name.length ? !isNegated : isNegated;
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new RangeError(
        `The pattern "${pattern}" takes too long for a name of ${name.length} characters: say it without "!(…)"`,
        { cause },
      );
    }
  };
}
