import { setImmediate } from 'node:timers/promises';
import type { InferenceSession } from 'onnxruntime-node';
import { openModel } from '../models/open-model';
import { type DescribedValue, describeValue } from '../containers/onnx/value-info';
import { loadSession, runSession, type SessionOptions } from '../models/runtime';
import type { Feeds } from '../models/types';
import type { ModelOutputs } from './types';
import { unpackedEachRun } from './unpacked';

/** What a network's file tells. */
export interface NetworkFile {
  file: string;
  inputs: DescribedValue[];
  outputs: DescribedValue[];
  /** Of the file and of those that hold its external data. */
  bytes: number;
  /** Operators whose weights become floats at each run. */
  unpacked: string[];
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
    unpacked: unpackedEachRun(graph.proto.node),
  };
}

/** A network that runs. */
export class Network {
  private constructor(
    private readonly session: InferenceSession,
    private readonly outputs: string[],
    private readonly what: string,
  ) {}

  /**
   * Loaded from its file, beside which the runtime finds external data. Messages call it `what`. Rejects with
   * ERR_VERTEXQ_RUNTIME.
   */
  static async load(
    file: string | Uint8Array,
    outputs: string[],
    options: SessionOptions,
    what: string,
  ): Promise<Network> {
    return new Network(await loadSession(file, what, options), outputs, what);
  }

  async run(feeds: Feeds): Promise<ModelOutputs> {
    return await runSession(this.session, feeds, this.outputs, this.what);
  }

  async end(): Promise<void> {
    await this.session.release();
  }
}

/** What both networks gave for a feed of so many samples. */
interface Answers {
  float: ModelOutputs;
  quantized: ModelOutputs;
  samples: number;
}

/** Runs both networks on one feed after the other. Rejects with the signal's reason, and with ERR_VERTEXQ_RUNTIME. */
export async function* runBoth(
  float: Network,
  quantized: Network,
  feeds: readonly Feeds[],
  sizes: readonly number[],
  signal?: AbortSignal,
): AsyncGenerator<Answers> {
  for (const [i, feed] of feeds.entries()) {
    // The runtime holds the thread while it runs: an abort comes in between.
    await setImmediate();
    signal?.throwIfAborted();
    yield { float: await float.run(feed), quantized: await quantized.run(feed), samples: sizes[i]! };
  }
}
