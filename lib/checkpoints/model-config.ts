import { join } from 'node:path';
import { VertexqError } from '../errors';
import { parseJson, withMember } from '../files/json-text';
import { configName, readConfigText } from './companions';

type Fields = Record<string, unknown>;

/** A model's config.json. */
export interface ModelConfig {
  path: string;
  /** As it stands there. */
  text: string;
  fields: Fields;
}

/** One of the configs in a config: of the whole, or of a part of a composite model. */
export interface NestedConfig {
  /** The keys that lead to it. */
  path: readonly string[];
  fields: Fields;
}

/** Of composite models: text_config, vision_config, llm_config, thinker_config, decoder, … */
const partName = /_config$|^(en|de)coder$|^generator$/;
const deepest = 6;
/** Under these a config says that its weights are quantized. */
const quantizationKeys = [
  'quantization_config',
  'quant_config',
  'quantize_config',
  'compression_config',
  'quantization',
  'quantization_bit',
  'load_in_4bit',
  'load_in_8bit',
];
/** Files in which quantizers say it. */
export const quantizationFiles = [
  'quantize_config.json',
  'quant_config.json',
  'hf_quant_config.json',
  'quantization_config.json',
];

/** The config.json of a folder; undefined where there is none. Rejects with ERR_VERTEXQ_FILE. */
export async function readConfig(folder: string): Promise<ModelConfig | undefined> {
  const path = join(folder, configName);
  const text = await readConfigText(folder);
  return text === undefined ? undefined : { path, text, fields: parseConfig(text, path) };
}

export function parseConfig(text: string, path: string): Fields {
  let node;
  try {
    node = parseJson(text);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${path} is no valid JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (node.members) return node.value as Fields;
  throw new VertexqError('ERR_VERTEXQ_FILE', `${path} should hold an object`);
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The config and those of the model's parts, the outermost first. */
export function configsIn(fields: Fields, path: readonly string[] = []): NestedConfig[] {
  const list: NestedConfig[] = [{ path, fields }];
  if (path.length < deepest)
    for (const [key, value] of Object.entries(fields))
      if (isFields(value) && !quantizationKeys.includes(key) && (partName.test(key) || 'model_type' in value))
        list.push(...configsIn(value, [...path, key]));
  return list;
}

/** The member of a config that says its weights are quantized; undefined where there is none. */
export function quantizationKeyOf(fields: Fields): string | undefined {
  for (const { path, fields: own } of configsIn(fields))
    for (const key of quantizationKeys) {
      const value = own[key];
      const says = isFields(value) ? Object.keys(value).length > 0 : Boolean(value);
      if (says) return [...path, key].join('.');
    }
  return undefined;
}

/** The text of a config with what tells loaders of its quantization, and nothing else changed but whether a packed head is the embedding. */
export function configText(
  { text, fields }: ModelConfig,
  quantization: Fields | null,
  untied: boolean,
): string {
  let edited = text;
  if (untied) {
    const key = 'tie_word_embeddings';
    const saying = configsIn(fields).filter(({ fields: own }) => key in own);
    for (const { path } of saying.length > 0 ? saying : [{ path: [] }])
      edited = withMember(edited, [...path, key], false);
  }
  return quantization ? withMember(edited, ['quantization_config'], quantization) : edited;
}
