import { environment } from '../../environment';
import { namingMemory, VertexqError } from '../../errors';
import { requireMemory } from '../../memory';
import { ModelForward } from '../../models/forward/model-forward';
import { ValueStore } from '../../models/forward/value-store';
import { runtimeVersion } from '../../models/runtime';
import { checkpointPath, requirePath } from '../../options/messages';
import { defaults } from '../../options/defaults';
import { checkOptions } from '../../options/table';
import type { Feeds } from '../../models/types';
import { Workspace } from '../../runs/workspace';
import type { TensorLike } from '../../types';
import { Turns } from '../../yielding';
import { requireAlike, type Side } from './alike';
import { blockSizes } from './block-sizes';
import { LanguageModel } from './language-model';
import { Measures } from './measures';
import {
  bytesAPlace,
  hiddenName,
  type JudgedBatch,
  type NextToken,
  nextTokenAt,
  type NextTokenSums,
  panelRows,
  sumNextTokens,
} from './next-tokens';
import type { CheckpointEvaluation, CheckpointMeasures, EvaluateCheckpointOptions } from './types';
import { requireSameTokenizer } from './tokenizers';
import { type Window, windowBatches, windowsOf } from './windows';
import { warn, type Warning } from '../../warning-codes';

/** Fewer judged tokens than this tell little. */
const fewTokens = 10_000;
/** What is kept of each is in memory. */
const maxTokens = 2 ** 24;

/** Windows of a text that are run together. */
interface Batch extends JudgedBatch {
  windows: readonly Window[];
}

/**
 * Judges quantized language models by the float one that they were made of, on text that calibration has not seen: how well each foretells the next
 * token, and how far the distributions of it are apart. All are safetensors files, folders of them or GGUF files, float or in any format that `verifyCheckpoint` reads.
 * Blocks are run one after the other, by onnxruntime-node. Memory: a block's weights in float32, and what `memory` says.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _SAFETENSORS, _GGUF, _DECODER (no network that is known),
 * _UNSUPPORTED (the checkpoints do not belong together, or are quantized in a way that is not known), _NOT_FINITE, _RUNTIME, _MEMORY, and what reading data
 * brings; with the signal's reason when aborted.
 */
export async function evaluateCheckpoint(
  float: string,
  quantized: string | readonly string[],
  given: EvaluateCheckpointOptions,
): Promise<CheckpointEvaluation> {
  const paths = checkArguments(float, quantized, given);
  // The caller may change his while this runs.
  const options = { ...given };
  options.signal?.throwIfAborted();
  const models: LanguageModel[] = [];
  try {
    for (const path of paths) models.push(await LanguageModel.open(path, options, models[0]));
    return await namingMemory(`the texts for ${float}`, () => evaluate(models, options));
  } finally {
    for (const model of models) await model.close();
  }
}

function checkArguments(
  float: unknown,
  quantized: unknown,
  options: EvaluateCheckpointOptions,
): [string, ...string[]] {
  const list: unknown[] = Array.isArray(quantized) ? quantized : [quantized];
  requirePath('float checkpoint', float, checkpointPath);
  for (const path of list) requirePath('quantized checkpoint', path, checkpointPath);
  if (list.length === 0) throw new RangeError('There is no quantized checkpoint to evaluate');
  checkOptions('evaluateCheckpoint', options);
  if (options.data === undefined)
    throw new TypeError('Evaluating needs the option "data": text that calibration has not seen');
  return [float as string, ...(list as string[])];
}

async function evaluate(
  models: readonly LanguageModel[],
  options: EvaluateCheckpointOptions,
): Promise<CheckpointEvaluation> {
  const started = performance.now();
  const { signal } = options;
  // What is wrong with a network is said before texts are read.
  const sides = models.map((model) => ({ model, decoder: model.decoder(1) }));
  requireAlike(sides);
  await requireSameTokenizer(models, signal);
  const { windows, warnings } = await windowsOf(options, models[0]!, sides[0]!.decoder.shape);
  const batches: Batch[] = windowBatches(windows).map((own) => ({ windows: own, next: nextIn(own) }));
  const places = batches.reduce((sum, { next }) => sum + next.length, 0);
  requireTokens(places, warnings);
  const longest = windows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  for (const side of sides) side.decoder = side.model.decoder(longest);
  for (const { decoder } of sides) warnings.push(...decoder.shape.warnings);
  requireRoom(sides, places);
  const sums = await new Run(sides, batches, options).sums();
  const documents = new Set(windows.map(({ document }) => document)).size;
  const checkpoints: CheckpointMeasures[] = [];
  for (const [i, { model }] of sides.entries())
    if (i > 0) checkpoints.push(await measured(sides, i, batches, sums, places, model));
  return {
    ...{ float: models[0]!.path, bytes: models[0]!.bytes },
    data: { documents, windows: windows.length, longest },
    checkpoints,
    seconds: (performance.now() - started) / 1000,
    warnings: [...new Set(warnings)],
    environment: environment(runtimeVersion()),
  };
}

/** The tokens that come after those that are judged: all but each window's first. */
function nextIn(windows: readonly Window[]): Int32Array {
  const next = new Int32Array(windows.reduce((sum, { ids }) => sum + ids.length - 1, 0));
  let at = 0;
  for (const { ids } of windows) {
    next.set(ids.subarray(1), at);
    at += ids.length - 1;
  }
  return next;
}

function requireTokens(places: number, warnings: Warning[]): void {
  if (places === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      'The data has no text of two tokens or more: there is no next token to judge',
    );
  if (places > maxTokens)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      `The data has ${places} tokens to judge, more than ${maxTokens}: give less of it`,
    );
  if (places < fewTokens)
    warnings.push(
      warn(
        'WARN_VERTEXQ_FEW_TOKENS',
        `There are ${places} tokens to judge: with fewer than ${fewTokens} perplexities say little. Look at the standard errors`,
      ),
    );
}

/** The largest block in float32, as read and as loaded; the head's panels; what is kept of each token. */
function requireRoom(sides: readonly Side[], places: number): void {
  const { shape } = sides[0]!.decoder;
  const largest = Math.max(...sides.flatMap(({ decoder }) => blockSizes(decoder)));
  const panels = 4 * sides.length * panelRows(shape.vocabulary, shape.hidden) * shape.hidden;
  requireMemory(
    Math.max(3 * 4 * largest, panels) + places * (bytesAPlace(sides.length) + 24),
    'Evaluating these checkpoints',
    'Give fewer texts',
  );
}

/** Runs the networks on the batches. */
class Run {
  /** Products of numbers. */
  private done = 0;
  private readonly total: number;

  constructor(
    private readonly sides: readonly Side[],
    private readonly batches: readonly Batch[],
    private readonly options: EvaluateCheckpointOptions,
  ) {
    const { vocabulary, hidden } = sides[0]!.decoder.shape;
    const blocks = sides.flatMap(({ decoder }) => blockSizes(decoder)).reduce((sum, size) => sum + size, 0);
    this.total =
      batches.reduce((sum, { next }) => sum + next.length, 0) * (blocks + sides.length * vocabulary * hidden);
  }

  /** What the networks say of the next token, by batch. */
  async sums(): Promise<NextTokenSums[]> {
    const workspace = Workspace.temporary(true);
    const memory = (this.options.memory ?? defaults.modelMemory) / 2;
    try {
      this.tell();
      const hidden = new ValueStore(workspace, memory, 'hidden');
      const { tokens, feeds } = await this.feeds();
      for (const [i, side] of this.sides.entries())
        await namingMemory(side.model.path, () =>
          this.forward(side, tokens, feeds, workspace, memory, (batch, value) =>
            hidden.put('seen', hiddenName(i), batch, value),
          ),
        );
      const heads = this.sides.map(({ model, decoder }) => model.head(decoder));
      const { shape } = this.sides[0]!.decoder;
      return await namingMemory('the logits of all sequences', () =>
        sumNextTokens(this.batches, hidden, heads, shape, this.options, (batch, rows) =>
          this.step(batch, this.sides.length * rows * shape.hidden),
        ),
      );
    } finally {
      await workspace.end();
    }
  }

  /** The tokens that there are, and the windows as their places among these. */
  private async feeds(): Promise<{ tokens: Int32Array; feeds: Feeds[] }> {
    const turns = new Turns(this.options.signal);
    const places = new Int32Array(this.sides[0]!.decoder.shape.vocabulary);
    for (const { windows } of this.batches) {
      if (turns.due) await turns.next();
      for (const { ids } of windows) for (const id of ids) places[id] = 1;
    }
    const tokens = Int32Array.from(places.keys()).filter((id) => places[id] === 1);
    for (const [place, id] of tokens.entries()) places[id] = place;
    const feeds: Feeds[] = [];
    for (const { windows } of this.batches) {
      if (turns.due) await turns.next();
      const length = windows[0]!.ids.length;
      const data = new BigInt64Array(windows.length * length);
      for (const [i, { ids }] of windows.entries())
        for (let at = 0; at < length; at++) data[i * length + at] = BigInt(places[ids[at]!]!);
      feeds.push({ input_ids: { data, dims: [windows.length, length], type: 'int64' } });
    }
    return { tokens, feeds };
  }

  /** Runs a network block by block, and gives what the head takes where a next token is known. */
  private async forward(
    { model, decoder }: Side,
    tokens: Int32Array,
    feeds: Feeds[],
    workspace: Workspace,
    memory: number,
    onHidden: (batch: number, value: TensorLike) => Promise<void>,
  ): Promise<void> {
    await model.narrow(decoder, tokens);
    const data = {
      ...{ fit: feeds, holdout: [], holdoutSizes: [], samples: { fit: feeds.length, holdout: 0 } },
      ...{ batchNames: new Set<string>(), notFinite: null, warnings: [] },
    };
    const forward = new ModelForward(decoder, [], data, workspace, memory, { ends: decoder.ends });
    const sizes = blockSizes(decoder);
    for (const [i, stage] of forward.stages.entries())
      await forward.run(
        stage,
        'none',
        async (batch, { seen }) => {
          this.step(batch, sizes[i] ?? 0);
          if (i === forward.stages.length - 1) await onHidden(batch, judgedRows(seen));
        },
        this.options.signal,
      );
  }

  /** `numbers` of weights have been computed with at the places of a batch. */
  private step(batch: number, numbers: number): void {
    this.done += this.batches[batch]!.next.length * numbers;
    this.tell();
  }

  private tell(): void {
    this.options.onProgress?.({ stage: 'judge', done: this.done, total: this.total });
  }
}

/** [batch, sequence, size] without each sequence's last row. */
function judgedRows({ data, dims, type }: TensorLike): TensorLike {
  const [count, length, size] = dims as [number, number, number];
  const rows = new Float32Array(count * (length - 1) * size);
  for (let i = 0; i < count; i++)
    rows.set(
      (data as Float32Array).subarray(i * length * size, ((i + 1) * length - 1) * size),
      i * (length - 1) * size,
    );
  return { data: rows, dims: [count * (length - 1), size], ...(type && { type }) };
}

/** How the quantized network `side` does beside the float one. */
async function measured(
  sides: readonly Side[],
  side: number,
  batches: readonly Batch[],
  sums: readonly NextTokenSums[],
  places: number,
  model: LanguageModel,
): Promise<CheckpointMeasures> {
  const measures = new Measures(places);
  const turns = new Turns();
  for (const [i, { windows, next }] of batches.entries()) {
    let place = 0;
    for (const { document, ids } of windows)
      for (let at = 1; at < ids.length; at++, place++) {
        const of = (network: number) => nextTokenAt(sums[i]!, next.length, network, place);
        const [float, own] = [of(0), of(side)];
        requireFinite(sides[0]!.model, float, document);
        requireFinite(model, own, document);
        measures.add(document, float.crossEntropy, own.crossEntropy, own.divergence, own.isSame);
        if (turns.due) await turns.next();
      }
  }
  const documents = [...measures.byDocument()]
    .map(([document, means]) => ({ document, ...means }))
    .sort((a, b) => a.document - b.document);
  return { quantized: model.path, bytes: model.bytes, ...(await measures.total()), documents };
}

function requireFinite(
  { path }: LanguageModel,
  { crossEntropy, divergence }: NextToken,
  document: number,
): void {
  if (Number.isFinite(crossEntropy) && Number.isFinite(divergence)) return;
  throw new VertexqError(
    'ERR_VERTEXQ_NOT_FINITE',
    `${path} gives logits that are not finite in document ${document} of the data`,
  );
}
