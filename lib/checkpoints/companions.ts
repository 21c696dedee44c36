import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { VertexqError } from '../errors';
import { isTemporary, OutputFile } from '../files/output-file';
import { allowedPlaces, readFolderFile, whyNotCopied } from '../files/folder-file';
import { InputFile } from '../files/input-file';
import { describe } from '../options/messages';
import { fewOf } from '../reports/text';
import { manifestName, workName } from '../runs/work-name';
import { warn, type Warning } from '../warning-codes';

export const configName = 'config.json';
/** More than any model's; what is longer would be parsed for a long time. */
const maxConfigBytes = 2 ** 24;
/** More than any tokenizer's, or what else is not weights. */
const maxCompanionBytes = 2 ** 32;
/** Weights in other formats: copied, they would contradict the quantized ones. */
const otherWeights =
  /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|ckpt|gguf|h5|msgpack|onnx|onnx_data)$/i;

/** The text of config.json; undefined where there is none. Rejects with ERR_VERTEXQ_FILE, also where it is a link out of the folder. */
export async function readConfigText(folder: string): Promise<string | undefined> {
  const bytes = await readFolderFile(folder, configName, maxConfigBytes);
  if (!bytes) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${join(folder, configName)} is not UTF-8`, { cause });
  }
}

/** The files of a folder that go with its weights: tokenizer, generation settings, licence. */
export interface Companions {
  /** By name, their real paths. */
  files: ReadonlyMap<string, string>;
  /** What is not copied, and why. */
  warnings: Warning[];
}

/** Finds them; folders are none. */
export async function companionsOf(folder: string): Promise<Companions> {
  const places = await allowedPlaces(folder);
  const files = new Map<string, string>();
  const left: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name === configName || name === manifestName || otherWeights.test(name) || isTemporary(name))
      continue;
    const path = join(folder, name);
    const reason = await whyNotCopied(path, places, maxCompanionBytes);
    if (reason === null) continue;
    // A run has its own folder of that name in the output.
    if (name.toLowerCase() === workName) left.push(`${describe(name)} (a name of vertexq's own)`);
    else if (reason === undefined) files.set(name, await realpath(path));
    else left.push(`${describe(name)} (${reason})`);
  }
  const warnings =
    left.length === 0
      ? []
      : [warn('WARN_VERTEXQ_NOT_COPIED', `Not copied from ${folder}: ${fewOf(left, 4)}.`)];
  return { files, warnings };
}

/** Copies a file, `from` its real path, by way of `temporary`, so that it appears when it is whole. */
export async function copyWhole(
  from: string,
  to: string,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const copy = async (input: InputFile) => {
    const output = await OutputFile.create(to, temporary);
    try {
      for await (const piece of input.pieces()) await output.append(piece, signal);
      await input.requireUnchanged();
      await output.commit();
    } catch (error) {
      await output.discard();
      throw error;
    }
  };
  await InputFile.with(from, copy, { followLinks: false });
}
