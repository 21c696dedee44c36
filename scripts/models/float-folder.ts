// A language model's GGUF file as the folder that Hugging Face libraries read, its weights in floats.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OpenGguf } from '../../lib/checkpoints/gguf/open';
import { behind, writeKnown } from '../../lib/containers/laid-out';
import { layOutAgain } from '../../lib/containers/safetensors/layout';
import type { TensorFile } from '../../lib/containers/tensor-file';
import { OutputFile } from '../../lib/files/output-file';

/** Writes the folder's files; `metadata` goes into the safetensors file. */
export async function writeFloatFolder(
  gguf: string,
  folder: string,
  metadata: ReadonlyMap<string, string>,
): Promise<void> {
  const opened = await OpenGguf.open(gguf, undefined);
  try {
    const { checkpoint, identity } = await opened.network();
    await writeFile(join(folder, 'config.json'), identity.config!.text);
    for (const { name, data } of opened.documents()) await writeFile(join(folder, name), data);
    for (const [name, shard] of checkpoint.shards) await writeShard(shard, join(folder, name), metadata);
  } finally {
    await opened.file.close();
  }
}

async function writeShard(
  shard: TensorFile,
  path: string,
  metadata: ReadonlyMap<string, string>,
): Promise<void> {
  const { head, places, size } = layOutAgain(shard.tensors, metadata);
  const laidOut = behind(head, { known: [], size });
  const file = await OutputFile.create(path);
  try {
    await writeKnown(file, laidOut);
    for (const [i, name] of [...shard.tensors.keys()].entries())
      await file.write(await shard.read(name), laidOut.dataStart + places[i]!);
    await file.commit();
  } catch (error) {
    await file.discard();
    throw error;
  }
}
