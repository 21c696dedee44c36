import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { readModel } from '../models/onnx/codec';
import { Graph, tensorsOf } from '../models/onnx/graph';
import { isExternal } from '../models/onnx/tensor';
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
  const { model, size } = await readModel(file);
  const graph = new Graph(model, file);
  const external = new Set<string>();
  for (const tensor of tensorsOf(graph.proto)) {
    if (!isExternal(tensor)) continue;
    const location = tensor.externalData.find(({ key }) => key === 'location')?.value;
    if (location) external.add(resolve(dirname(file), location));
  }
  let bytes = size;
  for (const path of external) {
    // Whether it is there is for the runtime to find.
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile()) bytes += found.size;
  }
  return {
    file,
    inputs: graph.inputs.map(describeValue),
    outputs: graph.proto.output.map(describeValue),
    bytes,
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
