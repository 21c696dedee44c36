import { type Command, InvalidArgumentError, Option as Flag } from 'commander';
import { groups, type Option } from '../options/kinds';
import { type Call, calls } from '../options/table';
import type { ProgressStyle } from './progress';

// The flags of commands: those of the table of options (lib/options/table.ts), and what they give by the library's names.

type Rows = Readonly<Record<string, Option>>;

/** What flags gave, by commander's names for them. */
export type Given = Readonly<Record<string, unknown>>;

/** What all commands with results take. */
export interface OutputFlags {
  json?: boolean;
  quiet?: boolean;
  strict?: boolean;
  progress?: ProgressStyle;
}

interface Named {
  /** Where the library has it: `bits`, or `size` in `image`. */
  path: readonly [string] | readonly [string, string];
  option: Option;
}

/** The options that have flags, those in an object one by one. */
function flagged(rows: Rows): Named[] {
  return Object.entries(rows).flatMap(([name, option]): Named[] => {
    if (option.help !== undefined) return [{ path: [name], option }];
    return flagged(option.kind.within ?? {}).map((inner) => ({ ...inner, path: [name, inner.path[0]] }));
  });
}

const capitalized = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
/** As commander calls it: `imageSize`. */
const keyOf = ([name, inner]: Named['path']) => (inner === undefined ? name : name + capitalized(inner));
/** As users do: `--image-size`. */
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const flagOf = (name: string) => `--${kebab(name)}`;

/** Options of several calls; of one that several have the later help is shown, and the choices of all are. */
function union(all: readonly Rows[]): Rows {
  const rows: Record<string, Option> = {};
  for (const [name, option] of all.flatMap((own) => Object.entries(own))) {
    const before = rows[name];
    const choices = [...new Set([...(before?.kind.choices ?? []), ...(option.kind.choices ?? [])])];
    if (before === undefined) rows[name] = option;
    else if (option.help !== undefined)
      rows[name] = choices.length > 0 ? { ...option, kind: { ...option.kind, choices } } : option;
  }
  return rows;
}

/**
 * Adds the flags of a command that is about such calls, heading by heading; `more` adds the command's own at the end of one. `but`: options
 * of the calls that the command does not have.
 */
export function addFlags(
  command: Command,
  about: readonly Call[],
  more: Partial<Record<string, (command: Command) => void>> = {},
  but: readonly string[] = [],
): Command {
  const named = flagged(union(about.map((call) => calls[call]))).filter(({ path }) => !but.includes(path[0]));
  for (const group of groups) {
    const own = named.filter(({ option }) => option.group === group);
    if (group !== '' && (own.length > 0 || more[group])) command.optionsGroup(`${group}:`);
    for (const { path, option } of own) addFlag(command, keyOf(path), option);
    more[group]?.(command);
  }
  return command;
}

function addFlag(command: Command, key: string, { kind, help, argument, negated, required }: Option): void {
  const shown = argument ?? kind.argument ?? null;
  const flag = new Flag(shown === null ? flagOf(key) : `${flagOf(key)} ${shown}`, help);
  const { parse } = kind;
  if (kind.choices) flag.choices([...kind.choices]);
  else if (parse) flag.argParser((text, before: unknown) => reading(() => parse(text, before)));
  command.addOption(flag.makeOptionMandatory(required === true));
  if (negated !== undefined) command.option(`--no-${kebab(key)}`, negated);
}

/** What a text means; what it cannot mean is told as commander tells it. */
export function reading<Result>(parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    throw error instanceof RangeError ? new InvalidArgumentError(error.message) : error;
  }
}

/** The options of calls that flags gave, by the library's names. */
export function optionsOf(about: readonly Call[], given: Given): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const { path, option } of flagged(union(about.map((call) => calls[call])))) {
    const value = given[keyOf(path)];
    if (value === undefined) continue;
    const [name, inner] = path;
    const taken = option.kind.fromFlag ? option.kind.fromFlag(value) : value;
    options[name] = inner === undefined ? taken : { ...(options[name] as object), [inner]: taken };
  }
  return options;
}

/** Throws a RangeError at a flag that is not about a call but about another, which is for the other kind of input. */
export function refuseFlags(call: Call, other: Call, given: Given, isForCheckpoint: boolean): void {
  const own = new Set(Object.keys(calls[call]));
  const odd = flagged(calls[other]).find(({ path }) => !own.has(path[0]) && given[keyOf(path)] !== undefined);
  if (!odd) return;
  const flag = flagOf(keyOf(odd.path));
  throw new RangeError(
    isForCheckpoint
      ? `${flag} is for ONNX models, and the input is a checkpoint`
      : `${flag} is for checkpoints: give a .safetensors file or a folder`,
  );
}
