import { basename, join } from 'node:path';
import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { ConfigReader } from '../decoders/config';
import { type OpenDecoder, openDecoder } from '../decoders/open';
import { withWayOut } from '../decoders/shape';
import { containerOf } from '../encodings/onnx/packed-blocks';
import { VertexqError } from '../errors';
import { withMember } from '../files/json-text';
import { configText, type ModelConfig } from './model-config';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';

// A language model as a network that generates text: where transformers.js looks for it, by the names that it gives its types of weights.

/** By the bits of an element in blocks. */
const types = { 2: 'q2', 4: 'q4', 8: 'q8' } as const;
const suffixes = { q2: 'q2', q4: 'q4', q8: 'quantized' } as const;

/** What transformers.js calls the widest weights of a network. */
function typeOf({ weights }: Pick<Plan, 'weights'>): keyof typeof suffixes {
  const widest = weights.reduce((most, { settings }) => Math.max(most, containerOf(settings)), 2);
  return types[widest as keyof typeof types];
}

/** The network's file, in the output's folder. */
export const networkName = (plan: Pick<Plan, 'weights'>): string =>
  join('onnx', `model_${suffixes[typeOf(plan)]}.onnx`);

/** The text of config.json with what transformers.js wants to know: the type of the weights, and how many files of data there are. */
export function networkConfig(config: ModelConfig, plan: Plan, dataFiles: number): string {
  const key = 'transformers.js_config';
  const before = config.fields[key];
  return withMember(configText(config, null, plan.untied), [key], {
    ...(typeof before === 'object' ? before : {}),
    dtype: typeOf(plan),
    use_external_data_format: { [basename(networkName(plan))]: dataFiles },
  });
}

/** The network that is written. Throws ERR_VERTEXQ_DECODER where it is none that is known, or nothing says what it is. */
export function openGenerator(checkpoint: Checkpoint, { config }: ModelIdentity): OpenDecoder {
  if (checkpoint.folder === null || !config)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${checkpoint.input}: the format "onnx" (--format onnx) writes a language model's network, which its config.json describes: give the folder that has both`,
    );
  return withWayOut(
    () => openDecoder(checkpoint, new ConfigReader(config.path, config.fields), 1, { isCached: true }),
    '; the format "onnx" writes the network, the other formats with the method "msq" need none',
  );
}
