import { type Checkpoint, openCheckpoint } from '../containers/safetensors/checkpoint';
import type { TensorFile } from '../containers/tensor-file';
import { refuse } from '../options/messages';
import type { CheckpointSettings } from './checkpoint-options';
import type { Document } from './documents';
import { modelOfFolder } from './gguf/model';
import type { GgufModel } from './gguf/tensor';
import { namedAs } from './gguf/network';
import { isGgufPath, OpenGguf } from './gguf/open';
import { identityOf, type ModelIdentity, requireFloat } from './model-identity';
import { type CheckpointNetwork, isText, openNetwork } from './network';
import type { Warning } from '../warning-codes';

/** What a run reads, whatever it is kept in. */
export interface Source {
  checkpoint: Checkpoint;
  identity: ModelIdentity;
  /** Its files. */
  inputs: readonly TensorFile[];
  /** As a GGUF file has it, where one is written. */
  model: GgufModel | null;
  /** Texts of the output's folder that are made, not copied; null where what lies beside the weights is. */
  documents?: readonly Document[];
  warnings?: readonly Warning[];
  /** The network and what it is run on. */
  network(): Promise<CheckpointNetwork>;
  close(): Promise<void>;
}

/** Opens a checkpoint or a GGUF file for a run with such settings. */
export async function openSource(input: string, settings: CheckpointSettings): Promise<Source> {
  const { encoding, format, options } = settings;
  if (isGgufPath(input)) {
    if (encoding.network)
      refuse(
        ['format'],
        `The format "${format}" is not for GGUF files, and ${input} is one: give it a format "gguf:…", or make a folder of it first ("float")`,
      );
    const opened = await OpenGguf.open(input, options.signal);
    return encoding.mix ? ofGguf(opened, settings) : ofGgufAsFolder(opened, settings);
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

/** A GGUF file as the folder that Hugging Face libraries read. */
async function ofGgufAsFolder(opened: OpenGguf, settings: CheckpointSettings): Promise<Source> {
  const { file, model } = opened;
  try {
    const { checkpoint, identity } = await opened.network();
    const { calibration, tokenizer } = settings.options;
    const ownTokens = isText(calibration) && tokenizer === undefined;
    const open = (folder: string | null) => openNetwork(checkpoint, identity, settings, folder);
    return {
      ...{ identity, model: null, inputs: [file], documents: opened.documents(), warnings: model.warnings },
      checkpoint: { ...checkpoint, folder: file.path },
      network: () => (ownTokens ? opened.withTokenizer(open) : open(null)),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
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
