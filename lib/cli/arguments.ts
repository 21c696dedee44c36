import { InvalidArgumentError } from 'commander';
import { stat } from 'node:fs/promises';
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
