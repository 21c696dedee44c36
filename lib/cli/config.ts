import { dirname, isAbsolute, join } from 'node:path';
import { VertexqError } from '../errors';
import { InputFile } from '../formats/input-file';
import { inPlace } from '../option-checks';
import { describe, requireKnown } from '../options';
import { without } from './data-flags';

// Options in a JSON file, whatever they are of.

/** More options than this nobody writes. */
const maxBytes = 2 ** 24;
/** What JSON cannot hold. */
const notInFiles = ['signal', 'onProgress'];

/** What the options are of: an ONNX model, a checkpoint. */
export interface Kind {
  names: readonly string[];
  /** The options of the other kind of input. */
  others: readonly string[];
  /** What to say of one of those. */
  refuse: (name: string) => string;
  /** The options with paths as seen from the process's working folder. Throws a TypeError at data that is no path. */
  withPaths: (options: Options, resolve: (path: string) => string) => Options;
  /** Throws a TypeError or RangeError at a wrong option. */
  check: (options: Options) => unknown;
}

export type Options = Readonly<Record<string, unknown>>;

/**
 * The options that a JSON file has, with those of the command line, `flags`, which win. All are checked. Paths in the file are relative to
 * its folder. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_CONFIG where it is no JSON; with a TypeError or RangeError at a wrong option,
 * which names the file where it came from there.
 */
export async function optionsWith(file: string, flags: Options, kind: Kind): Promise<Options> {
  const found = await readJson(file);
  const own = inPlace(file, () => {
    const other = Object.keys(found ?? {}).find(
      (name) => !kind.names.includes(name) && kind.others.includes(name),
    );
    if (other !== undefined) throw new TypeError(kind.refuse(other));
    requireKnown(
      found as object,
      kind.names.filter((name) => !notInFiles.includes(name)),
    );
    return kind.withPaths(found as Options, (path) =>
      isAbsolute(path) || path === '' ? path : join(dirname(file), path),
    );
  });
  const options = merge(own, flags);
  try {
    kind.check(options);
  } catch (error) {
    // Places in the file's overrides and those of the flags are counted together.
    const isOfFlags =
      messageOf(() => kind.check(flags)) === (error as Error).message ||
      messageOf(() => kind.check(merge(own, without(flags, ['overrides'])))) === undefined;
    if (isOfFlags) throw error;
    return inPlace(file, () => {
      throw error;
    });
  }
  return options;
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

/** Paths in an option as the library takes them: one or several. */
export function pathsIn(
  name: string,
  value: unknown,
  resolve: (path: string) => string,
  { orElse = '' } = {},
): unknown {
  if (value === undefined) return value;
  if (typeof value === 'string') return resolve(value);
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string'))
    return value.map(resolve);
  throw new TypeError(
    `Expected the "${name}" option to be the path of a file, or an array of such${orElse}, not ${describe(value)}`,
  );
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

function messageOf(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
