import type { InferenceSession } from 'onnxruntime-node';
import { openModel } from '../models/open-model';
import { type DescribedValue, describeValue } from '../models/onnx/value-info';
import { loadSession, runSession, type SessionOptions } from '../models/runtime';
import type { Feeds } from '../models/types';
import type { ModelOutputs } from './types';

/** What a network's file tells. */
export interface NetworkFile {
  file: string;
  inputs: DescribedValue[];
  outputs: DescribedValue[];
  /** Of the file and of those that hold its external data. */
  bytes: number;
}

/** Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX, ERR_VERTEXQ_MEMORY. */
export async function readNetwork(file: string): Promise<NetworkFile> {
  // Nothing is written: of the formats, this one leaves the graph as it is.
  const { graph, size } = await openModel(file);
  return {
    file,
    inputs: graph.inputs.map(describeValue),
    outputs: graph.proto.output.map(describeValue),
    bytes: size,
  };
}

/** A network that runs. */
export class Network {
  private constructor(
    private readonly session: InferenceSession,
    private readonly outputs: string[],
    private readonly what: string,
  ) {}

  /** Loaded from its file, beside which the runtime finds external data. Rejects with ERR_VERTEXQ_RUNTIME. */
  static async load(file: string, outputs: string[], options: SessionOptions): Promise<Network> {
    return new Network(await loadSession(file, file, options), outputs, file);
  }

  async run(feeds: Feeds): Promise<ModelOutputs> {
    return await runSession(this.session, feeds, this.outputs, this.what);
  }

  async end(): Promise<void> {
    await this.session.release();
  }
}
