import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { VertexqError } from '../errors';
import { OutputFile } from '../files';
import { InputFile } from '../formats/input-file';
import { allowedPlaces } from '../formats/safetensors/index-file';

export const configName = 'config.json';
/** Weights in other formats: copied, they would contradict the quantized ones. */
const otherWeights =
  /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|ckpt|gguf|h5|msgpack|onnx|onnx_data)$/i;
const chunk = 2 ** 24;

/** What a folder's config says of its model. */
export interface ModelConfig {
  text: string;
  modelType: string | undefined;
}

/** Reads config.json; undefined where there is none. Rejects with ERR_VERTEXQ_UNSUPPORTED where its weights are quantized already. */
export async function readConfig(folder: string): Promise<ModelConfig | undefined> {
  const path = join(folder, configName);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new VertexqError('ERR_VERTEXQ_FILE', `${path} cannot be read: ${error.message}`, { cause: error });
  });
  if (text === undefined) return undefined;
  const parsed = parseConfig(text, path);
  if ((parsed['quantization_config'] ?? null) !== null)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${path} says that the checkpoint is quantized already: give the float one`,
    );
  const modelType = parsed['model_type'];
  return { text, modelType: typeof modelType === 'string' ? modelType : undefined };
}

export function parseConfig(text: string, path: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${path} is no valid JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
    return parsed as Record<string, unknown>;
  throw new VertexqError('ERR_VERTEXQ_FILE', `${path} should hold an object`);
}

/** The files of a folder that go with its weights: tokenizer, generation settings, licence; not links out of it, nor folders. */
export async function companionsOf(folder: string): Promise<string[]> {
  const places = await allowedPlaces(folder);
  const names: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name === configName || otherWeights.test(name)) continue;
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (!found?.isFile()) continue;
    const real = await realpath(join(folder, name));
    if (places.some((place) => real.startsWith(place + sep))) names.push(name);
  }
  return names;
}

/** Copies a file so that it appears when it is whole. */
export async function copyWhole(from: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  await InputFile.with(from, async (input) => {
    const output = await OutputFile.create(to);
    try {
      for (let at = 0; at < input.size; at += chunk)
        await output.write(await input.read(at, Math.min(chunk, input.size - at)), at, signal);
      await output.commit();
    } catch (error) {
      await output.discard();
      throw error;
    }
  });
}
