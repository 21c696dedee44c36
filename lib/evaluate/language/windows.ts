import { VertexqError } from '../../errors';
import { prepareSamples } from '../../models/calibration-set';
import { dataOptionsOf } from '../../options/relations';
import { Turns } from '../../yielding';
import type { EvaluateCheckpointOptions } from './types';

/** Tokens that are run together, none of them of another document. */
export interface Window {
  document: number;
  ids: Int32Array;
}

/** Tokens of a run of a network: what it computes with is then small beside a block. */
const tokensAtOnce = 1024;

const inputs = [{ name: 'input_ids', type: 'int64', dims: ['batch', 'sequence'] }];

/** Reads the data as windows of two tokens and more. */
export async function readWindows(
  options: EvaluateCheckpointOptions,
  folder: string | null,
  vocabulary: number,
): Promise<{ windows: Window[]; warnings: string[] }> {
  const { data, signal } = options;
  const isText = [data]
    .flat()
    .some((path: unknown) => typeof path === 'string' && /\.(txt|jsonl)$/i.test(path));
  const { feeds, warnings } = await prepareSamples(data, 'data', {
    ...dataOptionsOf(options),
    ...(isText && folder !== null && options.tokenizer === undefined ? { tokenizer: folder } : {}),
    ...{ inputs, signal },
  });
  const windows: Window[] = [];
  const turns = new Turns(signal);
  let document = 0;
  for (const { input_ids } of feeds) {
    const [count, length] = input_ids!.dims as [number, number];
    for (let i = 0; i < count; i++, document++) {
      if (turns.due) await turns.next();
      const ids = Int32Array.from({ length }, (_, at) =>
        Number((input_ids!.data as BigInt64Array)[i * length + at]),
      );
      const odd = ids.findIndex((id) => id < 0 || id >= vocabulary);
      if (odd >= 0)
        throw new VertexqError(
          'ERR_VERTEXQ_CALIBRATION',
          `the data has the token ${ids[odd]}, and the vocabulary those from 0 to ${vocabulary - 1}: is the tokenizer the model's?`,
        );
      if (length > 1) windows.push({ document, ids });
    }
  }
  return { windows, warnings };
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
