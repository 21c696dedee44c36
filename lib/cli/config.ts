import { dirname, isAbsolute, normalize } from 'node:path';
import { checkCheckpointOptions } from '../checkpoints/checkpoint-options';
import type { CheckpointOptions } from '../checkpoints/types';
import { VertexqError } from '../errors';
import { InputFile } from '../files/input-file';
import { checkModelOptions } from '../models/model-options';
import type { ModelOptions } from '../models/types';
import { abortSignal, callback, type Option } from '../options/kinds';
import { plainPath } from '../files/plain-path';
import { inPlace, pathsOf, requireKnown } from '../options/messages';
import { calls } from '../options/table';

// Options in a JSON file, whatever they are of.

/** More options than this nobody writes. */
const maxBytes = 2 ** 24;

/** What the options are of. */
interface Kind {
  options: Readonly<Record<string, Option>>;
  /** Those of the other kind of input, and what to say of one. */
  others: Readonly<Record<string, Option>>;
  refuse: (name: string) => string;
  /** Throws a TypeError or RangeError at a wrong option. */
  check: (options: Options) => unknown;
}

type Options = Readonly<Record<string, unknown>>;

/** The options of `quantizeModel` that a file has, with `flags`, as `optionsWith` puts them together. */
export const withConfig = (file: string, flags: ModelOptions): Promise<ModelOptions> =>
  optionsWith(file, flags as Options, {
    options: calls.quantizeModel,
    others: calls.quantizeCheckpoint,
    refuse: (name) => `The "${name}" option is for checkpoints, and the input is an ONNX model`,
    check: checkModelOptions,
  });

/** Likewise, of `quantizeCheckpoint`. */
export const withCheckpointConfig = (file: string, flags: CheckpointOptions): Promise<CheckpointOptions> =>
  optionsWith(file, flags as Options, {
    options: calls.quantizeCheckpoint,
    others: calls.quantizeModel,
    refuse: (name) => `The "${name}" option is for ONNX models, and the input is a checkpoint`,
    check: checkCheckpointOptions,
  });

/**
 * The options that a JSON file has, with those of the command line, `flags`, which win. All are checked. Paths in the file are relative to
 * its folder. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_CONFIG where it is no JSON; with a TypeError or RangeError at a wrong option,
 * which names the file unless it is about flags alone.
 */
async function optionsWith(file: string, flags: Options, kind: Kind): Promise<Options> {
  const found = await readJson(file);
  const own = inPlace(file, () => {
    const other = Object.keys(found ?? {}).find((name) => !(name in kind.options) && name in kind.others);
    if (other !== undefined) throw new TypeError(kind.refuse(other));
    requireKnown(found as object, inFiles(kind.options));
    return withPaths(found as Options, kind.options, (path) =>
      isAbsolute(path) || path === '' ? path : normalize(plainPath(`${dirname(file)}/${path}`)),
    );
  });
  const options = merge(own, flags);
  try {
    kind.check(options);
  } catch (error) {
    if (isOfFlags(pathsOf(error), own, flags, options)) throw error;
    return inPlace(file, () => {
      throw error;
    });
  }
  return options;
}

/** The options that JSON can hold. */
const inFiles = (options: Kind['options']) =>
  Object.keys(options).filter((name) => ![abortSignal, callback].includes(options[name]!.kind));

/** Options with paths as seen from the process's working folder. */
function withPaths(options: Options, known: Kind['options'], resolve: (path: string) => string): Options {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => {
      const { resolved } = known[name]!.kind;
      return [name, resolved ? resolved(name, value, resolve) : value];
    }),
  );
}

/** Whether what is wrong with options, `merged` of the file's and the flags', was said on the command line alone. */
function isOfFlags(paths: readonly string[], own: Options, flags: Options, merged: Options): boolean {
  const inFile = Array.isArray(own['overrides']) ? own['overrides'].length : 0;
  const sources = paths.map((path) => {
    const [, name, index, inner] = /^(\w+)(?:\[(\d+)\])?(?:\.(\w+))?/.exec(path)!;
    // The file's overrides come before those of the flags.
    if (index !== undefined) return Number(index) < inFile ? own : flags;
    const given = flags[name!];
    if (given === undefined) return name! in merged ? own : undefined;
    return inner === undefined || inner in (given as object) || !(name! in own) ? flags : own;
  });
  return sources.includes(flags) && !sources.includes(own);
}

async function readJson(file: string): Promise<unknown> {
  const bytes = await InputFile.with(file, (opened) => {
    if (opened.size > maxBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_CONFIG',
        `${file} has ${opened.size} bytes: expected a JSON file of options, at most ${maxBytes}`,
      );
    return opened.read(0, opened.size);
  });
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_CONFIG', `${file} is no JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function merge(own: Options, flags: Options): Options {
  const { ...rest } = own as Record<string, unknown>;
  // Each says how many levels there are.
  if (flags['bits'] !== undefined) delete rest['levels'];
  if (flags['levels'] !== undefined) delete rest['bits'];
  const merged = { ...rest, ...flags };
  const { image, overrides } = rest;
  if (typeof image === 'object' && image !== null && flags['image'] !== undefined)
    merged['image'] = { ...image, ...flags['image'] };
  if (overrides !== undefined && flags['overrides'] !== undefined)
    // What is no array is left for the check.
    merged['overrides'] = Array.isArray(overrides)
      ? [...(overrides as unknown[]), ...(flags['overrides'] as unknown[])]
      : overrides;
  return merged;
}
