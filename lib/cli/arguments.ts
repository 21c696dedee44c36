import { InvalidArgumentError } from 'commander';
import { stat } from 'node:fs/promises';
import type { WeightOverride } from '../checkpoints/types';
import { VertexqError } from '../errors';

// What the text of an argument means. Which numbers are allowed is for the library to say.

export function wholeNumber(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function isNumber(text: string): boolean {
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);
}

export function groupSize(text: string): number | 'channel' {
  if (text === 'channel') return text;
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number, or "channel".');
  return Number(text);
}

export function rank(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (!isNumber(text))
    throw new InvalidArgumentError('Expected a whole number, a fraction below 1, or "auto".');
  return Number(text);
}

export function effort(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number, or "auto".');
  return Number(text);
}

export function decimal(text: string): number {
  if (!isNumber(text)) throw new InvalidArgumentError('Expected a number.');
  return Number(text);
}

/** Words between commas. */
export function words(text: string): string[] {
  const list = text.split(',').map((word) => word.trim());
  if (list.includes('')) throw new InvalidArgumentError('Expected words with commas between them.');
  return list;
}

/** Whole numbers between commas. */
export function wholeNumbers(text: string): number[] {
  const list = text.split(',').map((word) => word.trim());
  if (!list.every((word) => /^-?\d+$/.test(word)))
    throw new InvalidArgumentError('Expected whole numbers with commas between them.');
  return list.map(Number);
}

/** Numbers between commas. */
export function decimals(text: string): number[] {
  const list = text.split(',').map((word) => word.trim());
  if (!list.every(isNumber)) throw new InvalidArgumentError('Expected numbers with commas between them.');
  return list.map(Number);
}

/** A height and a width in pixels, or one number for both. */
export function size(text: string): [number, number] {
  const found = /^(\d+)(?:[x×,](\d+))?$/i.exec(text.trim());
  if (!found) throw new InvalidArgumentError('Expected a height and a width, such as 224x224.');
  return [Number(found[1]), Number(found[2] ?? found[1])];
}

/** A share, or the path of a file. */
export function holdout(text: string): number | string {
  if (text === '') throw new InvalidArgumentError('Expected a fraction from 0 and below 1, or a file.');
  return isNumber(text) ? Number(text) : text;
}

/** Throws ERR_VERTEXQ_UNSUPPORTED at a checkpoint, a folder or a safetensors file. */
export async function refuseCheckpoint(input: string): Promise<void> {
  const isFolder = await stat(input).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder && !/\.safetensors(\.index\.json)?$/i.test(input)) return;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${input} is a ${isFolder ? 'folder' : 'safetensors file'}: checkpoints are not supported in this version, give an ONNX file`,
  );
}

/** `glob=bits:8,group-size:32`; several flags add up. */
export function override(text: string, before: readonly WeightOverride[] = []): WeightOverride[] {
  // Globs may have an "=" of their own.
  const at = text.lastIndexOf('=');
  const own: WeightOverride = { layers: text.slice(0, Math.max(0, at)) };
  for (const setting of at > 0 ? text.slice(at + 1).split(',') : ['']) {
    const [, name, value = ''] = /^([^:]*):(.*)$/.exec(setting) ?? [];
    if (name === 'bits' || name === 'levels') own[name] = wholeNumber(value);
    else if (name === 'group-size') own.groupSize = groupSize(value);
    else if (name === 'grid') own.grid = value as NonNullable<WeightOverride['grid']>;
    else if (name === 'method') own.method = value as NonNullable<WeightOverride['method']>;
    else
      throw new InvalidArgumentError(
        'Expected a glob, "=", and settings such as bits:8,group-size:32 (bits, levels, grid, group-size, method).',
      );
  }
  return [...before, own];
}

/** The name of a dimension, or `input=axis`; several of the latter add up. */
export function batchAxis(
  text: string,
  before?: string | Readonly<Record<string, number | null>>,
): string | Record<string, number | null> {
  // Names may have an "=" of their own.
  const [, input, axis] = /^(.+)=(\d+|none)$/s.exec(text) ?? [];
  if (before !== undefined && (input === undefined || typeof before === 'string'))
    throw new InvalidArgumentError(
      'Expected one name of a dimension, or an axis for each of several inputs.',
    );
  if (text === '') throw new InvalidArgumentError('Expected the name of a dimension, or input=axis.');
  if (input === undefined) return text;
  // Defined rather than assigned: an input may be called `__proto__`.
  const own = [
    ...Object.entries((before as object | undefined) ?? {}),
    [input, axis === 'none' ? null : Number(axis)],
  ];
  return Object.fromEntries(own) as Record<string, number | null>;
}

const units: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Bytes: a number with k, M or G for powers of 1024. */
export function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  if (!found) throw new InvalidArgumentError('Expected bytes, such as 768M or 2G.');
  return Math.round(Number(found[1]) * units[found[2]!.toLowerCase()]!);
}
