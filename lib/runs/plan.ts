import type { BudgetReport } from '../sensitivity/choose';
import type { Method, SkippedWeight } from '../types';
import type { Warning } from '../warning-codes';

/** What would become of a weight: of a checkpoint each tensor, of a network each layer and what else it has of weights. */
export interface PlannedTensor {
  /** As the options `layers`, `skip` and `overrides` know it. */
  name: string;
  /** As the file calls it; null where several tensors are told of together. */
  dtype: string | null;
  /** Of a layer that is quantized [outFeatures, inFeatures]. */
  shape: readonly number[];
  /** What it becomes, or why it stays as it is. */
  action: 'quantize' | 'copy';
  /** Why it is left as it is; null where it is not. */
  reason: string | null;
  /** null where it is left as it is. */
  method: Method | null;
  /** Of a code; null where it is left as it is. */
  bits: number | null;
  /** Inputs that share a scale; null where it is left as it is. */
  groupSize: number | null;
  /** Of a tensor that counts elsewhere, tied or shared, 0. */
  bytes: { before: number; after: number };
}

/** What `planModel` and `planCheckpoint` found. */
export interface RunPlan {
  /** The model, or the checkpoint. */
  input: string;
  /** What would be written. */
  output: string;
  /** As the option of that name. */
  format: string;
  /** The files that would be written, as far as is known, in this order. */
  files: string[];
  /** Those that are quantized, then those that are left as they are. */
  tensors: PlannedTensor[];
  /** The weights that would stay as they are, each with the reason. */
  skipped: SkippedWeight[];
  /** Of the files, after it of a network about; and of the quantized weights. */
  bytes: { before: number; after: number; weightsBefore: number; weightsAfter: number };
  /** Of the quantized weights, scales and zero points included. */
  bitsPerWeight: number | null;
  /** How many weights are fitted to data: the others are rounded. */
  fitted: number;
  /** Of the text that a language model is run on, what is held out included; null for others. */
  tokens: number | null;
  /** Seconds on this machine, from short trials, within a factor of two; null where layers are fitted to recorded inputs, and for networks. */
  seconds: number | null;
  /** Bytes of memory besides the program's own: what the largest piece of work needs, with the data it is fitted to. */
  memory: number;
  /** Each ends with its code. */
  warnings: Warning[];
  /** How widths were chosen to meet a target; left out where there is none. */
  budget?: BudgetReport;
}

/** A plan with what follows from the rest. `weights`: numbers that are quantized. */
export const runPlan = (plan: Omit<RunPlan, 'bitsPerWeight'>, weights: number): RunPlan => ({
  ...plan,
  bitsPerWeight: weights === 0 ? null : (8 * plan.bytes.weightsAfter) / weights,
});
