import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, win32 } from 'node:path';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { Turns } from '../../yielding';
import { allowedPlaces, isWithin, readFolderFile } from '../../files/folder-file';
import { parseJson } from '../../files/json-text';
import { HeaderError, HeaderScanner } from './header-scanner';

export const indexName = 'model.safetensors.index.json';
/** More than an index of a million tensors has. */
const maxIndexBytes = 2 ** 28;

/** What an index says: which tensor lies in which file, by the order of the file. */
export interface ShardIndex {
  weightMap: Map<string, string>;
  /** The whole of it but for what is in its weight_map: a new index keeps the other members. */
  text: string;
}

const invalid = (file: string, why: string) =>
  new VertexqError('ERR_VERTEXQ_SAFETENSORS', `${file} is no valid index: ${why}`);

/** Reads an index. Rejects with ERR_VERTEXQ_FILE, also where it is a link out of its folder; ERR_VERTEXQ_SAFETENSORS. */
export async function readIndex(file: string, signal?: AbortSignal): Promise<ShardIndex> {
  const bytes = await readFolderFile(dirname(file), basename(file), maxIndexBytes);
  if (!bytes) throw new VertexqError('ERR_VERTEXQ_FILE', `${file} cannot be read: there is no such file`);
  try {
    return await parseIndex(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw invalid(file, error instanceof HeaderError ? error.message : 'it is not UTF-8');
  }
}

async function parseIndex(text: string, signal: AbortSignal | undefined): Promise<ShardIndex> {
  const turns = new Turns(signal);
  const scanner = new HeaderScanner(text, 'the index', text.startsWith('\ufeff') ? 1 : 0);
  const weightMap = new Map<string, string>();
  const seen = new Set<string>();
  let [begin, end] = [0, 0];
  await scanner.longObject('a member', turns, (key) => {
    if (seen.has(key)) throw new HeaderError(`it has ${describe(key)} twice`);
    seen.add(key);
    if (key === 'weight_map') {
      begin = text.indexOf('{', scanner.position);
      const reading = scanner.longObject('a tensor', turns, (name) => {
        if (weightMap.has(name)) throw new HeaderError(`it has the tensor ${describe(name)} twice`);
        weightMap.set(name, scanner.string(`the file of tensor ${describe(name)}`));
      });
      return reading.then(() => {
        end = scanner.position;
      });
    }
    requireValue(scanner.anything(describe(key)), key);
    return undefined;
  });
  scanner.end();
  if (!seen.has('weight_map')) throw new HeaderError('it has no "weight_map" of tensor names to file names');
  return { weightMap, text: `${text.slice(0, begin)}{}${text.slice(end)}` };
}

function requireValue(text: string, key: string): void {
  try {
    parseJson(text);
  } catch (cause) {
    throw new HeaderError(`${describe(key)}: ${(cause as Error).message}`);
  }
}

/**
 * The path of a shard that an index names. Throws ERR_VERTEXQ_SAFETENSORS where it is not a plain name in the index's folder, or a link
 * that leads out of it; ERR_VERTEXQ_FILE where there is no such file.
 */
export async function shardPath(folder: string, name: string): Promise<string> {
  const where = `the shard ${describe(name)} of ${folder}`;
  const parts = name.split(/[/\\]/);
  if (
    name === '' ||
    isAbsolute(name) ||
    win32.isAbsolute(name) ||
    parts.some((part) => part === '..' || part === '')
  )
    throw new VertexqError(
      'ERR_VERTEXQ_SAFETENSORS',
      `${where} is not in that folder: an index may name only files beside it`,
    );
  if (parts.length > 1 || !/^[^\0]+\.safetensors$/.test(name))
    throw new VertexqError(
      'ERR_VERTEXQ_SAFETENSORS',
      `${where}: expected the name of a .safetensors file in the folder itself`,
    );
  const path = join(folder, name);
  let real: string;
  try {
    real = await realpath(path);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${where} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (!isWithin(real, await allowedPlaces(folder)))
    throw new VertexqError(
      'ERR_VERTEXQ_SAFETENSORS',
      `${where} is a link to ${real}, out of that folder: put the file itself there`,
    );
  return real;
}
