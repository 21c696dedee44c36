// The lines that bench_native prints.

export interface PeakRow {
  bench: 'peak';
  precision: string;
  order: number;
  gemmGflops: number;
  syrkGflops: number;
}

/** `forms`: over r at one N, for the plot. */
export interface WalkRow {
  bench: 'walk' | 'forms';
  form: 'tableau' | 'inverse' | 'auto';
  precision: string;
  inFeatures: number;
  rank: number;
  milliseconds: number;
  perGemm: number;
  usefulOfPeak: number;
  residual: number;
  workspacePerRankSquared: number;
  refactorings: number;
  timesPlain?: number;
}

export interface PipelineRow {
  bench: 'pipeline';
  precision: string;
  inFeatures: number;
  perGemm: number;
  walkPerGemm: number;
  decodePerGemm: number;
  polishPerGemm: number;
}

export interface RivalRow {
  bench: 'gptq' | 'gpfq';
  problem: string;
  seconds: number;
  gflopsOfGemm: number;
  ofPeers: number;
  error: number;
}

export interface GramRow {
  bench: 'gram';
  precision: string;
  inFeatures: number;
  rows: number;
  ofSyrk: number;
}

export interface CholeskyRow {
  bench: 'cholesky';
  precision: string;
  order: number;
  ofPeak: number;
  timesLapack: number;
  speedup: number;
}

export interface ThreadsRow {
  bench: 'threads';
  task: string;
  threads: number;
  seconds: number;
  speedup: number;
}

export interface MemoryRow {
  bench: 'memory';
  task: string;
  inFeatures: number;
  rows?: number;
  neurons?: number;
  threads?: number;
  megabytes: number;
  perMatrix: number;
}

export interface MachineRow {
  bench: 'machine';
  blas: string;
  core: string;
  simd: string;
  cores: number;
}

export type Row =
  MachineRow | PeakRow | WalkRow | PipelineRow | RivalRow | GramRow | CholeskyRow | ThreadsRow | MemoryRow;

export function rowsOf<Kind extends Row['bench']>(
  rows: readonly Row[],
  ...kinds: Kind[]
): (Row & { bench: Kind })[] {
  return rows.filter((row): row is Row & { bench: Kind } => kinds.includes(row.bench as Kind));
}
