// A whole network: what it is quantized on, and how far it is from the float one on data that no fit has seen.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { quantizeModel, type Feeds, type ModelOptions } from '../../lib';
import { OutputErrorSum } from '../../lib/evaluate/output-error';
import type { ModelOutputs } from '../../lib/compare/types';
import { loadSession, runSession } from '../../lib/models/runtime';

export interface Network {
  path: string;
  output: string;
  calibration: Feeds[];
  /** Decides the damping of the error correction, and so must not be what the network is judged by. */
  holdout: Feeds[];
  judged: Feeds[];
  /** What else than the distance to the float network tells how good outputs are. */
  scorer: (() => Scorer) | null;
}

/** Takes what a network gives for the feeds that judge, one after the other. */
export interface Scorer {
  add(outputs: ModelOutputs, feed: number): void;
  result(): Scores;
}

export interface Scores {
  /** Share of right answers. */
  accuracy?: number;
  /** Of a reader: characters to correct, over the characters there are. */
  characterError?: number;
  /** Share of lines without a mistake. */
  linesRight?: number;
}

export interface Quality extends Scores {
  /** ‖Y′ − Y‖ / ‖Y‖ over all outputs. */
  error: number;
  /** Mean over the outputs' rows. */
  cosine: number;
  /** Rows of the output: sentences, images or steps of lines that judged. */
  rows: number;
}

export interface Measured extends Quality {
  /** Calibration sentences or images. */
  samples: number;
  /** Of `quantizeModel`: running the network up to each layer, and the fits. */
  seconds: number;
  fitSeconds: number;
  /** Of all cores, of `quantizeModel`: comparable on a busy machine, too. Runs of before it was measured have none. */
  cpuSeconds?: number;
  layers: { name: string; rows: number; own: number; againstFloat: number; errorCorrection: boolean }[];
}

/** Quantizes the network into `folder` and measures what comes out. */
export async function measure(network: Network, options: ModelOptions, folder: string): Promise<Measured> {
  const file = join(folder, 'quantized.onnx');
  const before = process.cpuUsage();
  const report = await quantizeModel(network.path, file, {
    ...options,
    format: 'float', // takes any grid and group size
    calibration: network.calibration,
    holdout: network.holdout,
  });
  const { user, system } = process.cpuUsage(before);
  const quality = await qualityOf(network, file);
  await rm(file);
  return {
    ...quality,
    samples: samplesOf(network),
    seconds: report.seconds,
    cpuSeconds: (user + system) / 1e6,
    fitSeconds: report.layers.reduce((sum, { seconds }) => sum + seconds, 0),
    layers: report.layers.map(({ name, samples, error, errorCorrection }) => ({
      name,
      rows: samples,
      own: error.own.holdout!,
      againstFloat: error.againstFloat!.holdout!,
      errorCorrection,
    })),
  };
}

export const samplesOf = ({ calibration }: Network): number =>
  calibration.reduce((sum, feeds) => sum + Object.values(feeds)[0]!.dims[0]!, 0);

/** How well the float network does. */
export async function floatScores(network: Network): Promise<Scores> {
  const scorer = network.scorer!();
  await forOutputs([network.path], network, ([float], feed) => scorer.add(float!, feed));
  return scorer.result();
}

/** How far the network in `file` is from the float one. Outputs may be large: those of one feed are held at a time. */
async function qualityOf(network: Network, file: string): Promise<Quality> {
  const sum = new OutputErrorSum();
  const scorer = network.scorer?.();
  await forOutputs([network.path, file], network, async ([float, quantized], feed) => {
    await sum.add(float!, quantized!);
    scorer?.add(quantized!, feed);
  });
  const { error, cosine, rows } = sum.result()!;
  return { error, cosine: cosine!, rows, ...scorer?.result() };
}

/** Runs the networks in `files` side by side on the feeds that judge. */
async function forOutputs(
  files: readonly string[],
  { judged, output }: Network,
  use: (outputs: ModelOutputs[], feed: number) => void | Promise<void>,
): Promise<void> {
  const sessions = await Promise.all(files.map(async (file) => loadSession(await readFile(file), file)));
  try {
    for (const [i, feeds] of judged.entries()) {
      const outputs: ModelOutputs[] = [];
      for (const [k, session] of sessions.entries())
        outputs.push(await runSession(session, feeds, [output], files[k]!));
      await use(outputs, i);
    }
  } finally {
    for (const session of sessions) await session.release();
  }
}
