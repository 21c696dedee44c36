import type { OpenDecoder } from '../decoders/open';
import { loadStage } from '../models/forward/stage-network';
import { ValueStore } from '../models/forward/value-store';
import type { ThreadedSession } from '../models/threaded-session';
import { typesOf } from '../models/tuning/block-network';
import type { Feeds } from '../models/types';
import type { Workspace } from '../runs/workspace';
import type { TensorLike } from '../types';
import { type PartGraph, partGraph, type ScaledPart } from './scaled-parts';

/** Factors of the scales of all weights: by part and weight, [outFeatures, groups]. */
export type Factors = readonly (readonly Float32Array[])[];

/** What runs cost and may be stopped by. */
export interface RunnerOptions {
  workspace: Workspace;
  /** Bytes of values between parts that stay out of files. */
  memory: number;
  signal: AbortSignal | undefined;
  /** Told of each part that has been run for some batches, and how often that counts. */
  onPart?: ((runs: number) => void) | undefined;
}

/** Runs a decoder's blocks one after the other, forward and back: of the network one block is loaded at a time. */
export class PartRunner {
  private readonly values: ValueStore;
  private readonly cotangents: ValueStore;

  /** `parts`: without the head; `feeds`: by batch. `name` begins the names of its files. */
  constructor(
    private readonly opened: OpenDecoder,
    readonly parts: readonly ScaledPart[],
    private readonly feeds: readonly Feeds[],
    private readonly options: RunnerOptions,
    name: string,
  ) {
    this.values = new ValueStore(options.workspace, (3 * options.memory) / 4, `${name}-forward`);
    this.cotangents = new ValueStore(options.workspace, options.memory / 4, `${name}-back`);
  }

  /** What the head takes of a batch that has been run forward. */
  hidden(batch: number): Promise<TensorLike> {
    return this.values.get('float', this.parts.at(-1)!.stage.target, batch);
  }

  /** Runs batches up to the head. `keeps`: what parts have taken is needed to go back. */
  async forward(batches: readonly number[], factors: Factors, keeps: boolean): Promise<void> {
    for (const [i, { stage }] of this.parts.entries()) {
      const { kept } = stage;
      await this.withPart(i, batches, false, kept, async ({ session, graph }) => {
        for (const batch of batches) {
          this.options.signal?.throwIfAborted();
          const feeds = { ...(await this.inputsOf(i, batch)), ...factorsIn(graph, factors[i]!) };
          const made = await session.run(feeds, kept);
          for (const name of kept) await this.values.put('float', name, batch, made[name]!);
        }
      });
      if (!keeps) await this.drop(stage.last);
      this.options.onPart?.(batches.length);
    }
  }

  /**
   * Goes back through the parts that batches were run through, from the cotangents of what the head takes. The sums over the batches of the derivatives by the factors. Forgets what was kept
   * for it.
   */
  async back(
    batches: readonly number[],
    factors: Factors,
    cotangentOf: (batch: number) => TensorLike,
  ): Promise<Float32Array[][]> {
    const sums = factors.map((own) => own.map(({ length }) => new Float32Array(length)));
    const known = new Set([this.parts.at(-1)!.stage.target]);
    for (const batch of batches)
      for (const name of known) await this.cotangents.put('float', name, batch, cotangentOf(batch));
    const first = this.parts.findIndex(({ tunables }) => tunables.length > 0);
    for (let i = this.parts.length - 1; i >= first; i--) {
      const { stage } = this.parts[i]!;
      await this.withPart(i, batches, true, null, async ({ session, graph }) => {
        // Before the first weight nothing takes them.
        const results = i > first ? [...graph.results].filter(([value]) => stage.inputs.includes(value)) : [];
        const names = [
          ...results.map(([, result]) => result),
          ...graph.factors.map(({ gradient }) => gradient),
        ];
        for (const batch of batches) {
          this.options.signal?.throwIfAborted();
          const feeds: Feeds = { ...(await this.inputsOf(i, batch)), ...factorsIn(graph, factors[i]!) };
          for (const [value, input] of graph.cotangents)
            feeds[input] = await this.cotangents.get('float', value, batch);
          const made = await session.run(feeds, names);
          for (const [value, result] of results) {
            const own = made[result]!;
            // A value may be taken by several parts.
            if (known.has(value))
              add(own.data as Float32Array, (await this.cotangents.get('float', value, batch)).data);
            await this.cotangents.put('float', value, batch, own);
          }
          for (const [at, { gradient }] of graph.factors.entries()) add(sums[i]![at]!, made[gradient]!.data);
        }
        for (const [value] of results) known.add(value);
      });
      for (const name of stage.kept) await this.cotangents.drop(name);
      this.options.onPart?.(2 * batches.length);
    }
    await this.drop(this.parts.flatMap(({ stage }) => stage.kept));
    return sums;
  }

  /** Forgets values that batches were run to. */
  async drop(names: readonly string[]): Promise<void> {
    for (const name of names) await this.values.drop(name);
  }

  private async withPart(
    index: number,
    batches: readonly number[],
    isBack: boolean,
    kept: readonly string[] | null,
    use: (loaded: { session: ThreadedSession; graph: PartGraph }) => Promise<void>,
  ): Promise<void> {
    const part = this.parts[index]!;
    const graph = await partGraph(this.opened, part, isBack);
    const inputs = typesOf(await this.inputsOf(index, batches[0]!));
    const float = [...graph.factors.map(({ input }) => input), ...(isBack ? graph.cotangents.values() : [])];
    const session = await loadStage(
      {
        ...this.opened,
        ...{ nodes: graph.nodes, constants: graph.constants, substitutes: new Map<never, never>() },
        inputs: [...inputs, ...float.map((name) => ({ name, type: 'float32' }))],
        outputs: kept ?? [...graph.results.values(), ...graph.factors.map(({ gradient }) => gradient)],
      },
      `block ${index + 1} of ${this.parts.length} of ${this.opened.file}${isBack ? ', and its gradients' : ''}`,
    );
    await use({ session, graph }).finally(() => session.release());
  }

  private async inputsOf(index: number, batch: number): Promise<Feeds> {
    const feeds: Feeds = {};
    for (const name of this.parts[index]!.stage.inputs)
      feeds[name] = this.feeds[batch]![name] ?? (await this.values.get('float', name, batch));
    return feeds;
  }
}

function factorsIn(graph: PartGraph, factors: readonly Float32Array[]): Feeds {
  return Object.fromEntries(
    graph.factors.map(({ input, dims }, i) => [input, { data: factors[i]!, dims, type: 'float32' }]),
  );
}

function add(to: Float32Array, values: TensorLike['data']): void {
  const own = values as Float32Array;
  for (let i = 0; i < to.length; i++) to[i]! += own[i]!;
}
