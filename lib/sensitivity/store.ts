import { VertexqError } from '../errors';
import { InputFile } from '../files/input-file';
import { ggufTypeNames, isGguf } from '../encodings/names';
import { describe } from '../options/messages';
import type { MeasuredWidth, SensitiveLayer, Sensitivity } from './types';

/** Larger than the sensitivity of any network. */
const maxBytes = 2 ** 28;

/**
 * A sensitivity, or one that was written to a file. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_SENSITIVITY where it is none of this version; with the signal's reason.
 */
export async function readSensitivity(given: string | Sensitivity): Promise<Sensitivity> {
  if (typeof given !== 'string') return checked('The "sensitivity" option', given);
  const path = given;
  const bytes = await InputFile.with(path, (file) => {
    if (file.size > maxBytes) throw unfit(path, `it has ${file.size} bytes, expected ${maxBytes} at most`);
    return file.read(0, file.size);
  });
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unfit(path, `it is no JSON: ${(cause as Error).message}`, cause);
  }
  return checked(path, found);
}

/**
 * A sensitivity that is of this input and format. Rejects as `readSensitivity`, with ERR_VERTEXQ_SENSITIVITY where it is not.
 */
export async function fittingSensitivity(
  given: string | Sensitivity,
  input: string,
  format: string,
  hash: () => string | Promise<string>,
): Promise<Sensitivity> {
  const found = await readSensitivity(given);
  const fail = (why: string) =>
    new VertexqError('ERR_VERTEXQ_SENSITIVITY', `The "sensitivity" does not fit: ${why}`);
  // Types of GGUF files are the same in all of their mixes.
  const kind = (name: string) => (isGguf(name) ? 'gguf' : name);
  if (kind(found.format) !== kind(format))
    throw fail(`it is for the format "${found.format}", and the output's is "${format}"`);
  if ((await hash()) !== found.inputHash)
    throw fail(`it is of another network (${found.input}) than ${input}`);
  return found;
}

const unfit = (path: string, why: string, cause?: unknown) =>
  new VertexqError('ERR_VERTEXQ_SENSITIVITY', `${path} is no sensitivity that "vertexq sensitivity" has written: ${why}`, { cause }); // prettier-ignore

function checked(path: string, found: unknown): Sensitivity {
  const fail = (where: string, expected: string, value: unknown): never => {
    throw unfit(path, `expected ${where} to be ${expected}, not ${describe(value)}`);
  };
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    return fail('it', 'an object', found);
  const own = found as Record<string, unknown>;
  if (own['schema'] !== 1) fail('"schema"', '1', own['schema']);
  for (const name of ['version', 'input', 'inputHash', 'format', 'method'])
    if (typeof own[name] !== 'string') fail(`"${name}"`, 'a text', own[name]);
  if (!['estimated', 'measured'].includes(own['how'] as string))
    fail('"how"', '"estimated" or "measured"', own['how']);
  if (!['kl', 'squared-error'].includes(own['unit'] as string))
    fail('"unit"', '"kl" or "squared-error"', own['unit']);
  for (const name of ['layers', 'unmeasured'])
    if (!Array.isArray(own[name])) fail(`"${name}"`, 'a list', own[name]);
  const names = new Set<unknown>();
  for (const [i, layer] of (own['layers'] as unknown[]).entries()) {
    const place = `layers[${i}]`;
    if (typeof layer !== 'object' || layer === null) return fail(place, 'an object', layer);
    const { name, group, shape, widths, left } = layer as Partial<Record<keyof SensitiveLayer, unknown>>;
    if (typeof name !== 'string' || names.has(name)) fail(`${place}.name`, 'a name of its own', name);
    names.add(name);
    if (group !== null && typeof group !== 'string') fail(`${place}.group`, 'a text or null', group);
    if (left !== undefined && !(typeof left === 'number' && left >= 0 && Number.isFinite(left)))
      fail(`${place}.left`, 'a number from 0', left);
    if (!Array.isArray(shape) || shape.length !== 2) fail(`${place}.shape`, 'two numbers', shape);
    if (!Array.isArray(widths) || widths.length === 0)
      return fail(`${place}.widths`, 'a list of one or more', widths);
    for (const [j, width] of (widths as unknown[]).entries()) {
      const at = `${place}.widths[${j}]`;
      if (typeof width !== 'object' || width === null) return fail(at, 'an object', width);
      const { bits, groupSize, blockType, bytes, change } = width as Partial<
        Record<keyof MeasuredWidth, unknown>
      >;
      const isCount = (value: unknown, most = Infinity) =>
        Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;
      if (bits !== undefined && !isCount(bits, 8)) fail(`${at}.bits`, 'a whole number from 1 to 8', bits);
      if (groupSize !== undefined && groupSize !== 'channel' && !isCount(groupSize))
        fail(`${at}.groupSize`, 'a whole number from 1, or "channel"', groupSize);
      if (blockType !== undefined && !ggufTypeNames.includes(blockType as 'Q4_K'))
        fail(`${at}.blockType`, 'a type of GGUF files', blockType);
      if (bits === undefined && blockType === undefined) fail(at, 'of some bits, or a block type', width);
      if (!Number.isSafeInteger(bytes) || (bytes as number) < 0)
        fail(`${at}.bytes`, 'a whole number from 0', bytes);
      if (typeof change !== 'number' || !(change >= 0)) fail(`${at}.change`, 'a number from 0', change);
    }
  }
  return found as Sensitivity;
}
