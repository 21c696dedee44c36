import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { plainPath } from '../../files/plain-path';
import { Turns } from '../../yielding';
import { SafetensorsFile } from './file';
import type { TensorEntry, TensorFile } from '../tensor-file';
import { indexName, readIndex, type ShardIndex, shardPath } from './index-file';

/** A file of a checkpoint. */
export type Shard = TensorFile & Pick<SafetensorsFile, 'metadata'>;

/** A safetensors file, or a folder of them with an index, open for reading. */
export interface Checkpoint {
  /** As it was given. */
  input: string;
  /** null for a single file. */
  folder: string | null;
  /** By their names in the folder, in the order of the names. */
  shards: ReadonlyMap<string, Shard>;
  /** Which shard has a tensor, by the order of the shards. */
  places: ReadonlyMap<string, string>;
  /** The index; null without one. */
  index: Pick<ShardIndex, 'text'> | null;
  close(): Promise<void>;
}

/** A tensor, wherever it is; undefined where there is none of that name. */
export function entryOf({ shards, places }: Checkpoint, name: string): TensorEntry | undefined {
  return shards.get(places.get(name) ?? '')?.tensors.get(name);
}

/**
 * Opens a checkpoint and checks all headers, against the index too. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_SAFETENSORS. Only
 * headers are in memory. It is for the caller to close.
 */
export async function openCheckpoint(given: string, signal?: AbortSignal): Promise<Checkpoint> {
  const input = plainPath(given);
  if (/\.gguf$/i.test(input))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${input} is a GGUF file, which only "quantize" and "inspect" read: give a safetensors file or a folder`,
    );
  const found = await stat(input).catch((cause: Error) => {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${input} cannot be read: ${cause.message}`, { cause });
  });
  if (found.isDirectory()) return openFolder(input, input, signal);
  if (input.endsWith('.index.json')) return openFolder(input, dirname(input), signal, basename(input));
  return open(input, null, new Map([[basename(input), input]]), null, signal);
}

async function openFolder(
  input: string,
  folder: string,
  signal: AbortSignal | undefined,
  index?: string,
): Promise<Checkpoint> {
  const names = await readdir(folder);
  const indexFile = index ?? names.find((name) => name === indexName);
  if (indexFile !== undefined) {
    const { weightMap, text } = await readIndex(join(folder, indexFile), signal);
    const paths = new Map<string, string>();
    for (const name of new Set([...weightMap.values()].sort()))
      paths.set(name, await shardPath(folder, name));
    const checkpoint = await open(input, folder, paths, { text }, signal);
    try {
      await checkIndex(join(folder, indexFile), weightMap, checkpoint);
      return checkpoint;
    } catch (error) {
      await checkpoint.close();
      throw error;
    }
  }
  const files = names.filter((name) => name.endsWith('.safetensors'));
  if (files.length === 1)
    return open(input, folder, new Map([[files[0]!, await shardPath(folder, files[0]!)]]), null, signal);
  throw new VertexqError(
    'ERR_VERTEXQ_SAFETENSORS',
    files.length === 0
      ? `${folder} has no .safetensors file`
      : `${folder} has ${files.length} .safetensors files and no ${indexName}, which would say how they belong together`,
  );
}

async function open(
  input: string,
  folder: string | null,
  paths: ReadonlyMap<string, string>,
  index: Checkpoint['index'],
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  const shards = new Map<string, SafetensorsFile>();
  const places = new Map<string, string>();
  const turns = new Turns();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    for (const [name, path] of paths) {
      // What an index names was followed to its end: a link there now is another file.
      const shard = await SafetensorsFile.open(path, { followLinks: folder === null, signal });
      shards.set(name, shard);
      for (const tensor of shard.tensors.keys()) {
        if (turns.due) await turns.next();
        const other = places.get(tensor);
        if (other !== undefined)
          throw new VertexqError(
            'ERR_VERTEXQ_SAFETENSORS',
            `${input}: tensor ${describe(tensor)} is in two shards, ${other} and ${name}`,
          );
        places.set(tensor, name);
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { input, folder, shards, places, index, close };
}

/** Throws where the index and the shards do not tell the same. */
async function checkIndex(
  file: string,
  weightMap: ReadonlyMap<string, string>,
  { places }: Checkpoint,
): Promise<void> {
  const turns = new Turns();
  const wrong = (why: string) => new VertexqError('ERR_VERTEXQ_SAFETENSORS', `${file}: ${why}`);
  for (const [tensor, shard] of weightMap) {
    if (turns.due) await turns.next();
    const place = places.get(tensor);
    if (place === shard) continue;
    throw wrong(
      `tensor ${describe(tensor)} should be in ${shard} and is ${place === undefined ? 'in no shard' : `in ${place}`}`,
    );
  }
  for (const [tensor, shard] of places) {
    if (turns.due) await turns.next();
    if (!weightMap.has(tensor)) throw wrong(`tensor ${describe(tensor)} of ${shard} is not in the index`);
  }
}
