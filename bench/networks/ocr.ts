// The OCR recognizer, on rendered lines of the Brown corpus.
import type { ModelOptions } from '../../lib';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { lineBatches, ocrRecognizerPath, readingScore, readTexts, textLines } from '../../scripts/models/ocr';
import type { Network, Scorer } from './network';
import { halves, spread } from './spread';

/** Lines, each of another sentence. */
export interface LineCounts {
  calibration: number;
  holdout: number;
  judged: number;
}

export const lineCounts: LineCounts = { calibration: 200, holdout: 40, judged: 500 };
export const quickLineCounts: LineCounts = { calibration: 12, holdout: 4, judged: 24 };

const widths: Record<string, ModelOptions> = {
  '4 bits': { bits: 4, grid: 'asymmetric' },
  '3 bits': { bits: 3, grid: 'asymmetric' },
  '2 bits': { bits: 2, grid: 'zero-free' },
  '8 bits': { bits: 8, grid: 'asymmetric' },
};

/** The most telling first. */
export const settings: Record<string, { options: ModelOptions }> = Object.fromEntries(
  Object.entries(widths).flatMap(([width, options]): [string, { options: ModelOptions }][] => [
    [`${width}, groups of 32`, { options: { ...options, groupSize: 32 } }],
    [`${width}, per channel`, { options: { ...options, groupSize: 'channel' } }],
  ]),
);

const output = 'softmax_11.tmp_0';
const linesPerBatch = 16;

/** Every second sentence of the corpus is for the fit, the others judge. */
export async function ocrRecognizer(counts: LineCounts): Promise<Network & { facts: string }> {
  const { fit, judge } = halves(brownSentences());
  const own = await textLines(spread(fit, counts.calibration + counts.holdout));
  const held = new Set(spread(own, counts.holdout));
  const judged = lineBatches(await textLines(spread(judge, counts.judged)), linesPerBatch);
  const feedsOf = (lines: typeof own) => lineBatches(lines, linesPerBatch).map(({ feeds }) => feeds);
  return {
    path: ocrRecognizerPath,
    output,
    calibration: feedsOf(own.filter((line) => !held.has(line))),
    holdout: feedsOf([...held]),
    judged: judged.map(({ feeds }) => feeds),
    scorer: () => reader(judged.map(({ texts }) => texts)),
    facts:
      `${counts.calibration} lines to fit, ${counts.holdout} as \`holdout\`, ${counts.judged} to judge by, ` +
      'each rendered from another sentence of the Brown corpus.',
  };
}

function reader(wanted: readonly string[][]): Scorer {
  const got: string[][] = [];
  return {
    add: (outputs, feed) => {
      got[feed] = readTexts(outputs[output] as { data: Float32Array; dims: readonly number[] });
    },
    result: () => readingScore(wanted.flat(), got.flat()),
  };
}
