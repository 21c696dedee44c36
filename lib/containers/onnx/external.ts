import { createHash } from 'node:crypto';
import { lstat, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../../errors';
import { hubFilesOf } from '../../files/hub-cache';
import type { InputFile } from '../../files/input-file';
import { describe } from '../../options/messages';
import type { TensorProto } from './onnx_pb';
import type { Place } from './skeleton';

/** What a model says of a tensor's data in another file. */
export interface ExternalPlace {
  path: string;
  /** The steps to `path` from the model's folder. */
  steps: readonly string[];
  offset: number;
  /** null: as the tensor's dimensions say. */
  length: number | null;
  checksum: string | null;
}

/**
 * Where a tensor's data lies, as `external_data` says, relative to the folder of `model`. Throws ERR_VERTEXQ_ONNX where that is no
 * place below the folder.
 */
export function externalPlace(tensor: TensorProto, model: string): ExternalPlace {
  const bad = (what: string) => new VertexqError('ERR_VERTEXQ_ONNX', `tensor "${tensor.name}": ${what}`);
  const entries = new Map<string, string>();
  for (const { key, value } of tensor.externalData) {
    if (entries.has(key)) throw bad(`its external_data has ${describe(key)} twice`);
    entries.set(key, value);
  }
  const location = entries.get('location') ?? '';
  const steps = location.split(/[/\\]/);
  if (
    location === '' ||
    location.includes('\0') ||
    /^([/\\]|[A-Za-z]:)/.test(location) ||
    steps.includes('..')
  )
    throw bad(
      `its data should lie in a file below the model's folder, and its location is ${describe(location)}`,
    );
  const number = (key: string): number | null => {
    const text = entries.get(key);
    if (text === undefined) return null;
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
      throw bad(`the ${key} of its data should be a whole number of bytes, not ${describe(text)}`);
    return value;
  };
  return {
    path: join(dirname(model), location),
    steps,
    offset: number('offset') ?? 0,
    length: number('length'),
    checksum: entries.get('checksum') ?? null,
  };
}

/**
 * The file to open. A symbolic link, or one on the way, would be a file elsewhere: ERR_VERTEXQ_ONNX, but for a link to one of the
 * model's own files in a cache of the Hugging Face hub. What is missing is for opening to say.
 */
export async function externalFile(
  { path, steps }: ExternalPlace,
  model: string,
  tensor: string,
): Promise<string> {
  let at = dirname(model);
  for (const [i, step] of steps.entries()) {
    at = join(at, step);
    const found = await lstat(at).catch(() => undefined);
    if (!found?.isSymbolicLink()) continue;
    const real = i === steps.length - 1 ? await realpath(at).catch(() => null) : null;
    if (real !== null && dirname(real) === (await hubFilesOf(dirname(model)))) return real;
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `tensor "${tensor}": its data should lie in a file below the model's folder, and ${at} is a symbolic link`,
    );
  }
  return path;
}

/** A file's SHA-1 in hexadecimal digits. */
export async function sha1Of(file: InputFile): Promise<string> {
  const hash = createHash('sha1');
  for await (const piece of file.pieces()) hash.update(piece);
  return hash.digest('hex');
}

/**
 * The bytes that are meant, of a file of `size`. `wanted`: as many as the dimensions say, where they say. Throws ERR_VERTEXQ_ONNX
 * where they are not there.
 */
export function placeWithin(
  { path, offset, length }: ExternalPlace,
  wanted: number | undefined,
  size: number,
  tensor: string,
): Place {
  const end = offset + (length ?? wanted ?? Math.max(0, size - offset));
  if (offset > size || end > size)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `tensor "${tensor}": its data should be the bytes ${offset} to ${end} of ${path}, which has ${size}`,
    );
  return { position: offset, length: end - offset };
}
