import { rename } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { companionsOf, configName, readConfigText } from '../checkpoints/companions';
import { manifestText } from '../checkpoints/output-manifest';
import { manifestName } from '../runs/work-name';
import { indexName } from '../containers/safetensors/index-file';
import type { Checkpoint, Shard } from '../containers/safetensors/checkpoint';
import { layOutAgain } from '../containers/safetensors/layout';
import { InputFile } from '../files/input-file';
import { type OutputFile, syncFolder, unwritable } from '../files/output-file';
import { checksumKey, noChecksum, writeChecksum } from '../runs/own-checksum';
import type { Workspace } from '../runs/workspace';
import type { Warning } from '../warning-codes';

/** Bytes that are copied at a time. */
const pieceBytes = 2 ** 24;

/** The key of what a tuned file says of itself, in its metadata. */
export const tuningKey = 'vertexq.tuning';

/**
 * Writes a checkpoint with other bytes for some tensors, as a folder with all that goes with it or as a file. A folder gets its name when all is in it. Returns what was
 * not copied, and why.
 */
export async function writeTuned(
  checkpoint: Checkpoint,
  output: string,
  bytes: ReadonlyMap<string, Uint8Array>,
  told: string,
  workspace: Workspace,
  signal: AbortSignal | undefined,
): Promise<Warning[]> {
  const { folder, shards, index } = checkpoint;
  const made: [string, OutputFile][] = [];
  const create = async (name: string) => {
    const file = await workspace.create(name);
    made.push([name, file]);
    return file;
  };
  const isFile = folder === null;
  for (const [name, shard] of shards) {
    const file = await create(isFile ? basename(output) : name);
    const size = await writeShard(shard, file, bytes, toldOf(shard, told, isFile), signal);
    if (isFile) await writeChecksum(file, size, [], signal);
  }
  if (isFile) {
    await workspace.publish([basename(output)]);
    return [];
  }
  const { files, warnings } = await companionsOf(folder);
  const config = await readConfigText(folder);
  if (config !== undefined) await (await create(configName)).append(Buffer.from(config));
  for (const [name, path] of files) {
    const file = await create(name);
    await InputFile.with(
      path,
      async (input) => {
        for await (const piece of input.pieces()) await file.append(piece, signal);
        await input.requireUnchanged();
      },
      { followLinks: false },
    );
  }
  if (index) await (await create(indexName)).append(Buffer.from(index.text));
  for (const [, file] of made) await file.finish();
  const manifest = await create(manifestName);
  await manifest.append(await manifestText(workspace.pathOf('.'), [], new Map(), signal), signal);
  await manifest.finish();
  await syncFolder(workspace.pathOf('.'));
  await rename(workspace.pathOf('.'), output).catch((cause: unknown) => {
    throw unwritable(output, cause);
  });
  await syncFolder(dirname(output));
  return warnings;
}

/** What a file says of itself; a checksum where it is all of the output, else the manifest has it. */
function toldOf({ metadata }: Shard, told: string, isFile: boolean): Map<string, string> {
  const all = new Map([...metadata, [tuningKey, told]]);
  if (isFile) all.set(checksumKey, noChecksum);
  else all.delete(checksumKey);
  return all;
}

/** Returns how many bytes it has. */
async function writeShard(
  shard: Shard,
  file: OutputFile,
  bytes: ReadonlyMap<string, Uint8Array>,
  told: ReadonlyMap<string, string>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { head, places } = layOutAgain(shard.tensors, told);
  let dataStart = 0;
  let size = 0;
  for (const piece of head) dataStart += (await file.append(piece, signal)).length;
  const buffer = new Uint8Array(pieceBytes);
  for (const [i, [name, { position, byteLength }]] of [...shard.tensors].entries()) {
    const to = dataStart + places[i]!;
    size = Math.max(size, to + byteLength);
    const own = bytes.get(name);
    if (own) await file.write(own, to, signal);
    else
      for (let at = 0; at < byteLength; at += pieceBytes) {
        const piece = buffer.subarray(0, Math.min(pieceBytes, byteLength - at));
        await shard.fill(piece, position + at);
        await file.write(piece, to + at, signal);
      }
  }
  await shard.requireUnchanged();
  return Math.max(size, dataStart);
}
