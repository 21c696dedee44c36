import { isText, tokenInputs } from '../../checkpoints/network';
import type { DecoderShape } from '../../decoders/shape';
import { VertexqError } from '../../errors';
import { prepareSamples } from '../../models/calibration-set';
import { readWindows } from '../../models/data/text';
import type { Feeds } from '../../models/types';
import { dataOptionsOf } from '../../options/relations';
import { defaults } from '../../options/defaults';
import { Turns } from '../../yielding';
import type { LanguageModel } from './language-model';
import type { EvaluateCheckpointOptions } from './types';
import type { Warning } from '../../warning-codes';

/** Tokens that are run together, none of them of another document. */
export interface Window {
  document: number;
  ids: Int32Array;
}

/** Tokens of a run of a network, which holds the event loop up: what it computes with is then small beside a block. */
const tokensAtOnce = 512;

/**
 * Reads the data as windows of two tokens and more: text is cut into some by the float model's tokenizer, and of tensors each row is one, and a document
 * too. Rejects as reading calibration data does, and with ERR_VERTEXQ_CALIBRATION at tokens that the model does not have.
 */
export async function windowsOf(
  options: EvaluateCheckpointOptions,
  model: LanguageModel,
  shape: DecoderShape,
): Promise<{ windows: Window[]; warnings: Warning[] }> {
  const { data, signal, ...others } = options;
  const own: Window[] = [];
  const warnings: Warning[] = [];
  const readText = async (tokenizer: NonNullable<typeof options.tokenizer>) => {
    const sequenceLength = options.sequenceLength ?? Math.min(defaults.sequenceLength, model.places(shape));
    const paths = [data].flat() as string[];
    const given = { ...dataOptionsOf(others), tokenizer, sequenceLength, vocabulary: shape.vocabulary };
    const read = await readWindows(paths, given, signal);
    warnings.push(...read.warnings);
    for (const { document, ids } of read.windows) own.push({ document, ids: Int32Array.from(ids) });
  };
  const readFeeds = async () => {
    const read = await prepareSamples(data, 'data', {
      ...dataOptionsOf(others),
      inputs: tokenInputs,
      signal,
    });
    warnings.push(...read.warnings);
    own.push(...rowsOf(read.feeds));
  };
  if (!isText(data)) await readFeeds();
  else if (options.tokenizer !== undefined) await readText(options.tokenizer);
  else await model.withTokenizer((folder) => (folder === null ? readFeeds() : readText(folder)));
  const { vocabulary } = shape;
  const turns = new Turns(signal);
  for (const { ids } of own) {
    if (turns.due) await turns.next();
    const odd = ids.find((id) => !(id >= 0 && id < vocabulary));
    if (odd !== undefined)
      throw new VertexqError(
        'ERR_VERTEXQ_CALIBRATION',
        `the data has the token ${odd}, and the vocabulary of ${model.path} those from 0 to ${vocabulary - 1}: is the tokenizer the model's?`,
      );
  }
  return { windows: own.filter(({ ids }) => ids.length > 1), warnings };
}

function* rowsOf(feeds: readonly Feeds[]): Generator<Window> {
  let document = 0;
  for (const { input_ids } of feeds) {
    const [count, length] = input_ids!.dims as [number, number];
    const data = input_ids!.data as BigInt64Array;
    for (let i = 0; i < count; i++)
      yield {
        document: document++,
        ids: Int32Array.from(data.subarray(i * length, (i + 1) * length), Number),
      };
  }
}

/** Windows of one length that are run together. */
export function windowBatches(windows: readonly Window[]): Window[][] {
  const batches: Window[][] = [];
  const open = new Map<number, Window[]>();
  for (const window of windows) {
    const { length } = window.ids;
    const batch = open.get(length);
    if (batch && (batch.length + 1) * length <= tokensAtOnce) batch.push(window);
    else {
      const own = [window];
      open.set(length, own);
      batches.push(own);
    }
  }
  return batches;
}
