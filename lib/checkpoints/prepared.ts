import type { Checkpoint } from '../containers/safetensors/checkpoint';
import type { TensorFile } from '../containers/tensor-file';
import type { OpenDecoder } from '../decoders/open';
import type { CheckpointSettings } from './checkpoint-options';
import type { Companions } from './companions';
import type { Document } from './documents';
import type { ModelIdentity } from './model-identity';
import type { CheckpointNetwork } from './network';
import type { Plan } from './plan';
import type { Provenance } from '../runs/provenance';
import type { RecordedInputs } from './recorded-inputs';

/** A checkpoint with all that is decided about it. */
export interface Prepared {
  settings: CheckpointSettings;
  /** Where its path leads. */
  output: string;
  checkpoint: Checkpoint;
  /** Its files. */
  inputs: readonly TensorFile[];
  /** Whether the output is one file, not a folder. */
  isFile: boolean;
  identity: ModelIdentity;
  companions: Companions;
  recorded: RecordedInputs | null;
  /** Where the checkpoint's own network is run. */
  network: CheckpointNetwork | null;
  /** Where the network itself is written: in its form with a cache. */
  generator: OpenDecoder | null;
  plan: Plan;
  /** What the output says of itself. */
  provenance: Provenance;
  /** The texts that go with the weights. */
  documents: Document[];
}
