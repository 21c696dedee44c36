import type { TensorLike } from '../../types';
import type { ForwardBlock } from '../forward/model-forward';
import { loadStage } from '../forward/stage-network';
import type { ThreadedSession } from '../threaded-session';
import type { Feeds } from '../types';
import type { BlockGraph } from './block-graph';

/** Batches of a block's rows: those of the fit, and those held out. */
export type Rows = 'fit' | 'heldOut';

/** Runs a block with scales that change. */
export class BlockNetwork {
  private constructor(
    private readonly block: ForwardBlock,
    private readonly graph: BlockGraph,
    private readonly judged: JudgedRows,
    private readonly forward: ThreadedSession,
    private readonly back: ThreadedSession,
  ) {}

  static async load(block: ForwardBlock, graph: BlockGraph, judged: JudgedRows): Promise<BlockNetwork> {
    const given = typesOf(await block.inputs(0, 'seen'));
    const inputs = [
      ...given,
      ...[graph.target, graph.rows, ...graph.scales.map(({ input }) => input)].map((name) => ({
        ...{ name, type: 'float32' },
      })),
    ];
    const { constants } = graph;
    const parts = { ...block.opened, inputs, constants, substitutes: new Map<never, never>() };
    const what = `the block that ends with "${block.stage.target}"`;
    const forward = await loadStage({ ...parts, nodes: graph.nodes, outputs: [graph.error] }, what);
    const gradients = graph.scales.map(({ gradient }) => gradient);
    try {
      const nodes = [...graph.nodes, ...graph.gradients];
      const back = await loadStage(
        { ...parts, nodes, outputs: gradients },
        `${what}, and its gradients ("tuning")`,
      );
      return new BlockNetwork(block, graph, judged, forward, back);
    } catch (error) {
      await forward.release();
      throw error;
    }
  }

  /** Σ weight · ‖y − target‖² over Σ weight · ‖target‖². null without rows. */
  async error(
    scales: readonly Float32Array[],
    of: Rows,
    signal: AbortSignal | undefined,
  ): Promise<number | null> {
    let sum = 0;
    for (const [batch, { heldOut }] of this.block.batches.entries()) {
      if (heldOut !== (of === 'heldOut')) continue;
      signal?.throwIfAborted();
      const { [this.graph.error]: errors } = await this.forward.run(await this.feeds(scales, batch), [
        this.graph.error,
      ]);
      for (const error of errors!.data as Float32Array) sum += error;
    }
    const { [of]: size } = this.judged.sizes;
    return size > 0 ? Math.sqrt(sum / size) : null;
  }

  /** The gradient of a batch's error by each layer's scales, but for a factor. */
  async gradients(scales: readonly Float32Array[], batch: number): Promise<Float32Array[]> {
    const names = this.graph.scales.map(({ gradient }) => gradient);
    const made = await this.back.run(await this.feeds(scales, batch), names);
    return names.map((name) => made[name]!.data as Float32Array);
  }

  async release(): Promise<void> {
    await this.forward.release();
    await this.back.release();
  }

  private async feeds(scales: readonly Float32Array[], batch: number): Promise<Feeds> {
    const feeds: Feeds = { ...(await this.block.inputs(batch, 'seen')), ...(await this.judged.of(batch)) };
    for (const [i, { input, dims }] of this.graph.scales.entries())
      feeds[input] = { data: scales[i]!, dims, type: 'float32' };
    return feeds;
  }
}

/** What a block should give, and how much each of its rows counts. */
export interface JudgedRows {
  /** By the names of the graph. */
  of(batch: number): Promise<Feeds>;
  /** Σ weight · ‖target‖². */
  sizes: Readonly<Record<Rows, number>>;
}

export const typesOf = (feeds: Feeds) =>
  Object.entries(feeds).map(([name, { type }]: [string, TensorLike]) => ({ name, type: type! }));
