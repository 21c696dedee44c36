import type { Kernels } from '../../environment';
import type { RunPlan } from '../../runs/plan';
import type { JobOptions } from '../../types';
import type { Warning } from '../../warning-codes';
import type { CheckpointReport, Verification } from '../types';

/** What of a run is the same wherever it is done. As JSON: docs/plan.schema.json. */
export interface PlanFile {
  /** Rises when what a plan holds changes its meaning. */
  schemaVersion: 1;
  /** The version of vertexq: others cut the work otherwise, and refuse the plan. */
  vertexq: string;
  /** SHA-256 of all else but `summary`. The folder beside the output that results are kept in is named by it. */
  id: string;
  /** Where the planning machine has them: absolute paths. */
  input: string;
  /** The folder or file that is written. */
  output: string;
  /** As the option of that name. */
  format: string;
  /** Those of `quantizeCheckpoint` that decide what becomes of weights. Widths that were chosen to meet a target are among its `overrides`. */
  options: Record<string, unknown>;
  /** What the processor computes with: others round otherwise, and refuse the plan. */
  kernels: Kernels;
  /** What is read. */
  inputs: PlannedInput[];
  /** What is written, in this order. */
  files: PlannedFile[];
  /** The work, in the order of the output. */
  units: PlannedUnit[];
  /** As `quantize --dry-run` tells it. For people: nothing is done by it. */
  summary: RunPlan;
}

/** A file that is read, as it was when the plan was made: one that has been written since is refused. */
export interface PlannedInput {
  /** In the input's folder; of data that an option names, as there. */
  name: string;
  /** Its size. */
  bytes: number;
  /** Nanoseconds since 1970. */
  modified: string;
  /** As `input` in provenance: of its size and samples of its bytes. */
  sha256: string;
}

/** A file of the output, as a plan foresees it. */
export interface PlannedFile {
  /** In the output's folder, or beside the output where that is a file. */
  name: string;
  /** Its size. */
  bytes: number;
  /** `units`: put together of their results; `copied`: of the input; `written`: by vertexq, as config.json. */
  made: 'units' | 'copied' | 'written';
  /** SHA-256 of what is known of it: of one made of units all that is not theirs, its header above all. null of a copied one, which is among `inputs`. */
  sha256: string | null;
}

/** A piece of work. Its result is the same whoever does it, and however often. */
export interface PlannedUnit {
  /** SHA-256 of it and of all that its result depends on: its result is called so. */
  key: string;
  /** `copy` leaves no result: `finish` takes the bytes from the input. */
  kind: 'copy' | 'rows' | 'fit' | 'batch';
  /** The weight, and which of its rows; null where it is of several tensors, or of bytes that are only copied. */
  weight: string | null;
  /** Of `weight`, from `begin` and below `end`; null for all of it, and where it is of several. */
  rows: [begin: number, end: number] | null;
  /** What it costs: bytes that are read. */
  reads: number;
  /** In `file`, between `begin` and `end` of its bytes. */
  writes: { file: string; begin: number; end: number; bytes: number };
  /** Bytes of buffers that it takes; what a fit needs besides is in `summary`. */
  memory: number;
  /** Keys of the units whose results it needs: of a weight that is fitted to text the one before it, as the network comes to them. Others need none. */
  needs: string[];
}

/** Which part of a plan's units: `index` counts from 0. */
export interface ShardOfPlan {
  /** From 0. */
  index: number;
  /** Of how many parts of a plan it is one. */
  count: number;
}

/** How far some rows of a layer, or all, came from the float ones. */
export interface LayerSums {
  /** The layer's. */
  name: string;
  /** Sums of squares of w − ŵ and of w over the rows; of a layer that was fitted to data, the square of its own error on held-out data (of the calibration set where nothing is held out), and 1. */
  error: number;
  /** The sum of squares that `error` is relative to. */
  signal: number;
  /** Whether it was fitted to data, and the error is its outputs'. */
  isFitted: boolean;
}

/** What `runShard` did. */
export interface ShardReport {
  /** The id of the plan. */
  plan: string;
  /** Which part of it. */
  shard: ShardOfPlan;
  /** Units of this shard that were done now, and whose results were there already. */
  units: { done: number; found: number };
  /** Of the input, that the units done now have read. */
  bytes: number;
  /** Of the layers of all these units, in the plan's order. A layer may be in several shards. */
  layers: LayerSums[];
  /** Each ends with its code. */
  warnings: Warning[];
  /** Of all of the work. */
  seconds: number;
}

/** How work on a plan is done here. */
export interface PlannedRunOptions extends JobOptions {
  /** Where this machine has the input; default: where the plan says. */
  input?: string;
  /** Where this machine has the output, under the name that it has in the plan. */
  output?: string;
  /** Bytes that buffers may take (default 768 MiB). A fit to data takes what its Gram matrices need besides. */
  memory?: number;
  /** Whether to work although the plan is of other kernels of the CPU; else that is refused. */
  otherKernels?: boolean;
}

/** Options of `runShard`: which part of a plan it does, and how. */
export interface ShardOptions extends PlannedRunOptions {
  /** Which part of the units; default: all. */
  shard?: ShardOfPlan;
  /** Aborted, it begins no other unit, and rejects with the reason when the results of those on their way are kept. */
  drain?: AbortSignal;
}

/** What `finishRun` did: the report of the run, and what reading its output back has shown. */
export interface FinishReport extends CheckpointReport {
  /** What reading the output back has shown. */
  verification: Verification;
}
