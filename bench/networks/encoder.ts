// The sentence encoder of the demo, and how much of the Brown corpus each of its parts gets.
import type { ModelOptions } from '../../lib';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { sentenceBatches, sentenceEncoderPath } from '../../scripts/models/sentence-encoder';
import type { Network } from './network';
import { halves, spread } from './spread';

/** A run takes about twice as long with twice the sentences. */
export interface Sizes {
  calibration: number;
  holdout: number;
  judged: number;
}

export const settings: Record<
  string,
  { options: ModelOptions; sentences: number; target: number; rival: number }
> = {
  '3 bits, per channel': {
    options: { bits: 3, groupSize: 'channel', grid: 'asymmetric' },
    sentences: 12_000,
    target: 0.966,
    rival: 0.965,
  },
  '3 bits, groups of 32': {
    options: { bits: 3, groupSize: 32, grid: 'asymmetric' },
    sentences: 6000,
    target: 0.977,
    rival: 0.976,
  },
  '4 bits, groups of 32': {
    options: { bits: 4, groupSize: 32, grid: 'asymmetric' },
    sentences: 6000,
    target: 0.9942,
    rival: 0.994,
  },
  '2 bits, groups of 32': {
    options: { bits: 2, groupSize: 32, grid: 'zero-free' },
    sentences: 6000,
    target: 0.908,
    rival: 0.901,
  },
};

/**
 * Every second sentence of the corpus is for the fit, the others judge. Of the former, some are held out for the damping of the error
 * correction. Fewer than there are come from all over the corpus.
 */
export async function sentenceEncoder(sizes: Sizes): Promise<Network & { facts: string }> {
  const all = brownSentences();
  const { fit: fitHalf, judge: judgedHalf } = halves(all);
  const own = spread(fitHalf, sizes.calibration + sizes.holdout);
  const held = new Set(spread(own, sizes.holdout));
  const batches = (sentences: string[]) => sentenceBatches(sentences, 128);
  const calibration = batches(own.filter((sentence) => !held.has(sentence)));
  const judged = spread(judgedHalf, sizes.judged);
  const number = (value: number): string => value.toLocaleString('en');
  return {
    path: await sentenceEncoderPath(),
    output: 'embedding',
    calibration,
    holdout: batches([...held]),
    judged: batches(judged),
    scorer: null,
    facts:
      `The corpus gives ${number(all.length)} sentences, every second of which (${number(fitHalf.length)}) is for calibration: ` +
      `the tables say how many were used. Another ${number(held.size)} of these are the \`holdout\`. Sentences of the other half judge.`,
  };
}
