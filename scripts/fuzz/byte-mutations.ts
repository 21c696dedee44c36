// Damage to a file as bytes: most of it to what says how the bytes are to be read, for weights are most of a file.
import type { Chooser } from './random';
import { varint, type WireField } from './wire';

/** An intact model to damage. */
export interface Subject {
  name: string;
  bytes: Uint8Array;
  fields: readonly WireField[];
}

type Edit = { start: number; end: number; bytes: Uint8Array | readonly number[] };
export type ByteMutation = (subject: Subject, choose: Chooser) => Uint8Array;

/** Puts other bytes in place of some. */
function replaced(bytes: Uint8Array, { start, end, bytes: put }: Edit): Uint8Array {
  const made = new Uint8Array(bytes.length - (end - start) + put.length);
  made.set(bytes.subarray(0, start));
  made.set(put, start);
  made.set(bytes.subarray(end), start + put.length);
  return made;
}

/** The same, with the lengths of all messages around it changed to fit. */
function refitted({ bytes, fields }: Subject, within: number, edit: Edit): Uint8Array {
  let made = replaced(bytes, edit);
  let growth = edit.bytes.length - (edit.end - edit.start);
  for (let i = within; i >= 0; i = fields[i]!.parent) {
    const { lengthAt, content, end } = fields[i]!;
    const length = varint(BigInt(Math.max(0, end - content + growth)));
    made = replaced(made, { start: lengthAt!, end: content, bytes: length });
    growth += length.length - (content - lengthAt!);
  }
  return made;
}

/** Bytes that say how others are to be read: tags, lengths, numbers and short strings. */
function telling({ fields, bytes }: Subject, choose: Chooser): number {
  const { start, content, end } = choose.of(fields);
  const last = Math.min(end, content + 40, bytes.length);
  return start + choose.below(Math.max(1, last - start));
}

const lengths = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** By name, as findings tell. */
export const byteMutations: Record<string, ByteMutation> = {
  truncated: ({ bytes, fields }, choose) => {
    const { start, content, end } = choose.of(fields);
    return bytes.slice(0, choose.of([start, content, end - 1, choose.below(bytes.length), choose.below(16)]));
  },
  bits: (subject, choose) => {
    const made = subject.bytes.slice();
    for (let count = 1 + choose.below(8); count > 0; count--) {
      const at = choose.chance(0.8) ? telling(subject, choose) : choose.below(made.length);
      made[at]! ^= 1 << choose.below(8);
    }
    return made;
  },
  bytes: (subject, choose) => {
    const made = subject.bytes.slice();
    const at = telling(subject, choose);
    for (let i = at; i < Math.min(made.length, at + 1 + choose.below(12)); i++)
      made[i] = choose.of([0, 127, 128, 255, choose.below(256)]);
    return made;
  },
  length: (subject, choose) => {
    const long = subject.fields.filter(({ lengthAt }) => lengthAt !== null);
    const { lengthAt, content, end } = choose.of(long);
    const near = [-1, 1, 2, 100].map((more) => BigInt(Math.max(0, end - content + more)));
    const bytes = varint(choose.of([...lengths, ...near]));
    return replaced(subject.bytes, { start: lengthAt!, end: content, bytes });
  },
  overlong: (subject, choose) => {
    const { start, content, end, wireType, lengthAt, parent } = choose.of(subject.fields);
    const least = choose.of([2, 5, 9, 10, 11, 1000]);
    if (wireType === 0)
      return refitted(subject, parent, {
        start: content,
        end,
        bytes: varint(BigInt(choose.below(9)), least),
      });
    const [from, to] = lengthAt === null ? [start, content] : [lengthAt, content];
    const value = lengthAt === null ? subject.bytes[start]! : end - content;
    return refitted(subject, parent, { start: from, end: to, bytes: varint(BigInt(value), least) });
  },
  number: (subject, choose) => {
    const numbers = subject.fields.filter(({ wireType }) => wireType === 0);
    const { content, end, parent } = choose.of(numbers);
    const bytes = varint(choose.of([...lengths, BigInt(choose.below(64))]));
    return refitted(subject, parent, { start: content, end, bytes });
  },
  tag: (subject, choose) => {
    const made = subject.bytes.slice();
    const { start } = choose.of(subject.fields);
    made[start] = choose.chance(0.5) ? (made[start]! & 0xf8) | choose.below(8) : choose.below(128);
    return made;
  },
  removed: (subject, choose) => {
    const { start, end, parent } = choose.of(subject.fields);
    return refitted(subject, parent, { start, end, bytes: [] });
  },
  repeated: (subject, choose) => {
    const small = subject.fields.filter(({ start, end }) => end - start < 2000);
    const { start, end, parent } = choose.of(small);
    const once = subject.bytes.subarray(start, end);
    const times = choose.of([1, 2, 100, 10_000]);
    const bytes = new Uint8Array(once.length * times);
    for (let i = 0; i < times; i++) bytes.set(once, i * once.length);
    return refitted(subject, parent, { start: end, end, bytes });
  },
  /** A field from elsewhere, in place of another or beside it. */
  spliced: (subject, choose) => {
    const small = subject.fields.filter(({ start, end }) => end - start < 100_000);
    const [from, to] = [choose.of(small), choose.of(small)];
    const bytes = subject.bytes.subarray(from.start, from.end);
    const edit = { start: choose.chance(0.5) ? to.start : to.end, end: to.end, bytes };
    return choose.chance(0.8) ? refitted(subject, to.parent, edit) : replaced(subject.bytes, edit);
  },
  /** Messages in messages. */
  nested: (subject, choose) => {
    const depth = choose.of([10, 100, 1000, 10_000, 100_000]);
    // Graph 7 in the model; node 1, attribute 5, graph 6 in turns. Or unknown groups, tag 27.
    const inside = choose.chance(0.7) ? nestedGraphs(depth) : new Uint8Array(depth).fill(27 * 8 + 3);
    return replaced(subject.bytes, { start: subject.bytes.length, end: subject.bytes.length, bytes: inside });
  },
  tail: ({ bytes }, choose) => {
    const more = Uint8Array.from({ length: 1 + choose.below(300) }, () => choose.below(256));
    return replaced(bytes, { start: bytes.length, end: bytes.length, bytes: more });
  },
};

/** Graphs in attributes in nodes in graphs, as a field of the model. */
function nestedGraphs(depth: number): Uint8Array {
  const numbers = [1, 5, 6];
  const headers: number[][] = [];
  let length = 0;
  for (let i = depth - 1; i >= 0; i--) {
    const header = [
      ...varint(BigInt(8 * (i === 0 ? 7 : numbers[(i - 1) % 3]!) + 2)),
      ...varint(BigInt(length)),
    ];
    headers.push(header);
    length += header.length;
  }
  return Uint8Array.from(headers.reverse().flat());
}
