import type { InferenceSession } from 'onnxruntime-node';
import { VertexqError } from '../../errors';
import type { PreparedCalibration } from '../calibration';
import type { OpenModel } from '../open-model';
import type { NodeProto } from '../onnx/onnx_pb';
import { runSession } from '../runtime';
import type { Feeds, TensorLike } from '../types';
import type { Workspace } from '../workspace';
import { loadStage, type Substitute } from './stage-network';
import type { Stage } from './stages';
import { type Stream, ValueStore } from './value-store';

/** A stage's target on one batch. */
export interface StageResult {
  batch: number;
  /** In the network as quantized so far. */
  seen: TensorLike;
  /** In the float network; only with error correction. */
  float: TensorLike | undefined;
}

interface Session {
  session: InferenceSession;
  outputs: string[];
  what: string;
}

/** Runs a network stage by stage: as quantized so far and, for error correction, in float beside it. */
export class StageRunner {
  private readonly store: ValueStore;
  private readonly feeds: readonly Feeds[];
  private readonly corrects: boolean;

  /** `substitutes`: what nodes compute with once their weights are quantized. `changed`: values that differ then; others are kept once. */
  constructor(
    private readonly opened: OpenModel,
    data: PreparedCalibration,
    workspace: Workspace,
    private readonly substitutes: ReadonlyMap<NodeProto, readonly Substitute[]>,
    { errorCorrection, memory }: { errorCorrection: boolean; memory: number },
    private readonly changed: ReadonlySet<string>,
  ) {
    this.feeds = [...data.fit, ...data.holdout];
    this.corrects = errorCorrection;
    this.store = new ValueStore(workspace, memory);
  }

  /**
   * Runs a stage on every batch; `onBatch` gets the target, `pairs`: of both networks. Resolves to the rank that the target has.
   * Memory: besides what lives between stages, one batch's.
   */
  async run(
    stage: Stage,
    pairs: boolean,
    onBatch: (result: StageResult) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const sessions = new Map<Stream, Session>();
    let rank: number | undefined;
    try {
      for (const batch of this.feeds.keys()) {
        signal?.throwIfAborted();
        if (batch === 0) await this.load(stage, sessions);
        const made = {
          seen: await this.runOne(stage, 'seen', sessions, batch),
          float: await this.runOne(stage, 'float', sessions, batch),
        };
        const seen = made.seen.get(stage.target) ?? (await this.value('seen', stage.target, batch));
        const float = pairs
          ? (made.float.get(stage.target) ?? (await this.value('float', stage.target, batch)))
          : undefined;
        rank = requireRank(stage, rank, seen.dims.length);
        await onBatch({ batch, seen, float });
        for (const stream of ['seen', 'float'] as const)
          for (const name of stage.kept) {
            const value = made[stream].get(name);
            if (value) await this.store.put(stream, name, batch, value);
          }
        for (const name of stage.last) this.store.dropBatch(name, batch);
      }
    } finally {
      for (const { session } of sessions.values()) await session.release();
    }
    for (const name of stage.last) await this.store.drop(name);
    return rank!;
  }

  /** The sessions that the stage needs: none where all is there. */
  private async load(stage: Stage, sessions: Map<Stream, Session>): Promise<void> {
    const outputs = [...new Set([...stage.kept, ...(makes(stage) ? [stage.target] : [])])];
    const wanted: Record<Stream, string[]> = {
      seen: outputs,
      float: this.corrects ? outputs.filter((name) => this.changed.has(name)) : [],
    };
    for (const stream of ['seen', 'float'] as const) {
      if (wanted[stream].length === 0) continue;
      if (wanted[stream].includes('__proto__'))
        throw new VertexqError(
          'ERR_VERTEXQ_UNSUPPORTED',
          'onnxruntime-node cannot give out a value called "__proto__": rename it',
        );
      const inputs = [];
      for (const name of stage.inputs) {
        const { type } = await this.value(stream, name, 0);
        inputs.push({ name, type: type! });
      }
      const what = `${stream === 'seen' ? 'the network' : 'the float network'} up to "${stage.target}"`;
      const session = await loadStage(
        {
          ...this.opened,
          nodes: stage.nodes,
          inputs,
          outputs: wanted[stream],
          substitutes: stream === 'seen' ? this.substitutes : new Map<NodeProto, Substitute[]>(),
        },
        what,
      );
      sessions.set(stream, { session, outputs: wanted[stream], what });
    }
  }

  private async runOne(
    stage: Stage,
    stream: Stream,
    sessions: ReadonlyMap<Stream, Session>,
    batch: number,
  ): Promise<Map<string, TensorLike>> {
    const loaded = sessions.get(stream);
    if (!loaded) return new Map();
    const feeds = new Map<string, TensorLike>();
    for (const name of stage.inputs) feeds.set(name, await this.value(stream, name, batch));
    const { session, outputs, what } = loaded;
    return new Map(Object.entries(await runSession(session, Object.fromEntries(feeds), outputs, what)));
  }

  /** A value from the feeds or from a stage before. */
  private async value(stream: Stream, name: string, batch: number): Promise<TensorLike> {
    const feeds = this.feeds[batch]!;
    if (this.isInput(name)) {
      if (Object.hasOwn(feeds, name)) return feeds[name]!;
      throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data has no input "${name}"`);
    }
    return this.store.get(this.changed.has(name) ? stream : 'seen', name, batch);
  }

  private isInput(name: string): boolean {
    return this.opened.graph.producerOf(name) === undefined;
  }
}

const makes = ({ nodes, target }: Stage) => nodes.some((node) => node.output.includes(target));

/** A weight on the left is written for values of one rank. */
function requireRank(stage: Stage, before: number | undefined, rank: number): number {
  const needsOne = stage.layers.some(({ input }) => input!.rows.kind === 'axis' && input!.rows.axis !== -1);
  if (before !== undefined && before !== rank && needsOne)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `the value "${stage.target}" has rank ${before} for some of the data and ${rank} for other: expected the same`,
    );
  return rank;
}
