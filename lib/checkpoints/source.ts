import { type Checkpoint, openCheckpoint } from '../containers/safetensors/checkpoint';
import type { TensorFile } from '../containers/tensor-file';
import { refuse } from '../options/messages';
import type { CheckpointSettings } from './checkpoint-options';
import { type GgufModel, modelOfFolder } from './gguf/model';
import { namedAs } from './gguf/network';
import { isGgufPath, OpenGguf } from './gguf/open';
import { identityOf, type ModelIdentity, requireFloat } from './model-identity';
import { type CheckpointNetwork, isText, openNetwork } from './network';

/** What a run reads, whatever it is kept in. */
export interface Source {
  checkpoint: Checkpoint;
  identity: ModelIdentity;
  /** Its files. */
  inputs: readonly TensorFile[];
  /** As a GGUF file has it, where one is written. */
  model: GgufModel | null;
  /** The network and what it is run on. */
  network(): Promise<CheckpointNetwork>;
  close(): Promise<void>;
}

/** Opens a checkpoint or a GGUF file for a run with such settings. */
export async function openSource(input: string, settings: CheckpointSettings): Promise<Source> {
  const { encoding, format, options } = settings;
  if (isGgufPath(input)) {
    if (!encoding.mix)
      refuse(
        ['format'],
        `The format "${format}" is for safetensors files, and ${input} is a GGUF file, which becomes another one: give the "format" option (--format) "gguf:q4_0" or one like it`,
      );
    return ofGguf(await OpenGguf.open(input, options.signal), settings);
  }
  const checkpoint = await openCheckpoint(input, options.signal);
  try {
    const identity = await identityOf(checkpoint);
    requireFloat(identity, input, settings.allowQuantized, encoding.isPlain);
    const model = encoding.mix ? await modelOfFolder(checkpoint, identity) : null;
    return {
      ...{ checkpoint, identity, model, inputs: [...checkpoint.shards.values()] },
      async network() {
        const network = await openNetwork(checkpoint, identity, settings);
        return model ? namedAs(network, model) : network;
      },
      close: () => checkpoint.close(),
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

function ofGguf(opened: OpenGguf, settings: CheckpointSettings): Source {
  const { file, model } = opened;
  const { calibration, tokenizer } = settings.options;
  return {
    ...{ model, inputs: [file], ...opened.alone() },
    async network() {
      const { checkpoint, identity } = await opened.network();
      const open = (folder?: string) => openNetwork(checkpoint, identity, settings, folder);
      const ownTokens = isText(calibration) && tokenizer === undefined;
      return namedAs(await (ownTokens ? opened.withTokenizer(open) : open()), model);
    },
    close: () => file.close(),
  };
}
