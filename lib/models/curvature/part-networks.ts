import { VertexqError } from '../../errors';
import type { TensorLike } from '../../types';
import { loadStage, type StageParts, type Substitute } from '../forward/stage-network';
import type { GraphStage } from '../forward/stages';
import type { Stream, ValueStore } from '../forward/value-store';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import type { OpenModel } from '../open-model';
import type { ThreadedSession } from '../threaded-session';
import type { Feeds } from '../types';

/** Weights that are computed with in place of a network's own, by node. */
export type Substitutes = ReadonlyMap<NodeProto, readonly Substitute[]>;

/** What nodes take of a batch's values, and give. */
export interface PartNetwork {
  session: ThreadedSession;
  outputs: readonly string[];
}

/** What of a part is loaded, and what it is given besides the values that it takes. */
export type Loading = Pick<StageParts, 'nodes' | 'outputs'> & {
  constants?: StageParts['constants'];
  inputs?: StageParts['inputs'];
  /** Names it in messages. */
  what: string;
};

/** Loads parts of a network and gives them the values that they take. */
export class PartNetworks {
  /** `first`: the batch that tells types. `floats`: the float network's weights, where the network has others (`seen`). */
  constructor(
    private readonly opened: OpenModel,
    private readonly feeds: readonly Feeds[],
    private readonly values: ValueStore,
    private readonly first: number,
    private readonly floats: Substitutes,
  ) {}

  async load(
    part: GraphStage,
    stream: Stream,
    { nodes, outputs, constants = [], inputs = [], what }: Loading,
  ): Promise<PartNetwork> {
    const all: { name: string; type: string }[] = [];
    for (const name of part.inputs)
      all.push({ name, type: (await this.value(stream, name, this.first)).type! });
    all.push(...inputs);
    const substitutes: Substitutes = stream === 'float' ? this.floats : new Map();
    const session = await loadStage(
      { ...this.opened, nodes, constants, inputs: all, outputs, substitutes },
      what,
    );
    return { session, outputs: [...outputs] };
  }

  async run({ session, outputs }: PartNetwork, feeds: Feeds): Promise<Feeds> {
    return await session.run(feeds, [...outputs]);
  }

  async inputsOf({ inputs }: GraphStage, stream: Stream, batch: number): Promise<Feeds> {
    const feeds: Feeds = {};
    for (const name of inputs) feeds[name] = await this.value(stream, name, batch);
    return feeds;
  }

  /** A value from the feeds or from a part before. */
  private async value(stream: Stream, name: string, batch: number): Promise<TensorLike> {
    if (this.opened.graph.producerOf(name) !== undefined) return this.values.get(stream, name, batch);
    const feeds = this.feeds[batch]!;
    if (Object.hasOwn(feeds, name)) return feeds[name]!;
    throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data has no input "${name}"`);
  }
}
