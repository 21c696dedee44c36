import { dirname, isAbsolute, join } from 'node:path';
import { VertexqError } from '../errors';
import { InputFile } from '../formats/input-file';
import { checkModelOptions, modelOptionNames } from '../models/model-options';
import { inPlace } from '../option-checks';
import type { ModelOptions } from '../models/types';
import { describe, requireKnown } from '../options';

/** More options than this nobody writes. */
const maxBytes = 2 ** 24;
/** What JSON cannot hold. */
const notInFiles = ['signal', 'onProgress'];

/**
 * The options of `quantizeModel` that a JSON file has, with those of the command line, `flags`, which win. All are checked. Paths in
 * the file are relative to its folder. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_CONFIG where it is no JSON; with a TypeError or
 * RangeError at a wrong option, which names the file where it came from there.
 */
export async function withConfig(file: string, flags: ModelOptions): Promise<ModelOptions> {
  const found = await readJson(file);
  const own = inPlace(file, () => {
    requireKnown(
      found as object,
      modelOptionNames.filter((name) => !notInFiles.includes(name)),
    );
    return withPaths(found as Record<string, unknown>, dirname(file));
  });
  const options = merge(own, flags);
  try {
    checkModelOptions(options);
  } catch (error) {
    if (messageOf(() => checkModelOptions(flags)) === (error as Error).message) throw error;
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

/** Paths as seen from the process's working folder. Throws a TypeError at data that is no path. */
function withPaths(options: Record<string, unknown>, folder: string): ModelOptions {
  const resolve = (path: string) => (isAbsolute(path) || path === '' ? path : join(folder, path));
  const found = { ...options };
  for (const name of ['calibration', 'holdout', 'tokenizer'] as const) {
    const value = found[name];
    if (typeof value === 'string') found[name] = resolve(value);
    else if (name !== 'tokenizer' && Object.hasOwn(found, name)) found[name] = pathsIn(name, value, resolve);
  }
  return found;
}

function pathsIn(name: string, value: unknown, resolve: (path: string) => string): unknown {
  if (value === undefined || (name === 'holdout' && typeof value === 'number')) return value;
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string'))
    return value.map(resolve);
  throw new TypeError(
    `Expected the "${name}" option to be the path of a file, or an array of such${name === 'holdout' ? ', or a fraction' : ''}, not ${describe(value)}`,
  );
}

function merge(own: ModelOptions, flags: ModelOptions): ModelOptions {
  const { ...rest } = own;
  // Each says how many levels there are.
  if (flags.bits !== undefined) delete rest.levels;
  if (flags.levels !== undefined) delete rest.bits;
  const { image } = rest;
  const both = typeof image === 'object' && image !== null && flags.image !== undefined;
  return { ...rest, ...flags, ...(both ? { image: { ...image, ...flags.image } } : {}) };
}

function messageOf(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
