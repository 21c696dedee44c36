// A whole network: what it is quantized on, and how far it is from the float one on data that no fit has seen.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { quantizeModel, type Feeds, type ModelOptions } from '../../lib';
import { OutputErrorSum } from '../../lib/evaluate/output-error';
import type { ModelOutputs } from '../../lib/compare/types';
import { loadSession, runSession } from '../../lib/models/runtime';
import { accuracy } from '../../scripts/models/mnist';

export interface Network {
  path: string;
  output: string;
  calibration: Feeds[];
  /** Decides the damping of the error correction, and so must not be what the network is judged by. */
  holdout: Feeds[];
  judged: Feeds[];
  /** The right digits of `judged`, for a classifier. */
  labels: Uint8Array | null;
  /** What the float network gives for `judged`. */
  float: ModelOutputs[];
}

export interface Quality {
  /** ‖Y′ − Y‖ / ‖Y‖ over all outputs. */
  error: number;
  /** Mean over the outputs' rows. */
  cosine: number;
  /** Rows of the output: sentences or images that judged. */
  rows: number;
  /** Share of right answers. */
  accuracy: number | null;
}

export interface Measured extends Quality {
  /** Calibration sentences or images. */
  samples: number;
  /** Of `quantizeModel`: running the network up to each layer, and the fits. */
  seconds: number;
  fitSeconds: number;
  layers: { name: string; rows: number; calibration: number; holdout: number; errorCorrection: boolean }[];
}

/** A network with the float outputs that it is measured against. */
export async function withFloat(network: Omit<Network, 'float'>): Promise<Network> {
  return { ...network, float: await outputsOf(network.path, network) };
}

/** Quantizes the network into `folder` and measures what comes out. */
export async function measure(network: Network, options: ModelOptions, folder: string): Promise<Measured> {
  const file = join(folder, 'quantized.onnx');
  const report = await quantizeModel(network.path, file, {
    ...options,
    format: 'float', // takes any grid and group size
    calibration: network.calibration,
    holdout: network.holdout,
  });
  const quality = qualityOf(network, await outputsOf(file, network));
  await rm(file);
  return {
    ...quality,
    samples: samplesOf(network),
    seconds: report.seconds,
    fitSeconds: report.layers.reduce((sum, { seconds }) => sum + seconds, 0),
    layers: report.layers.map(({ name, samples, error, errorCorrection }) => ({
      name,
      rows: samples,
      calibration: error.calibration!,
      holdout: error.holdout!,
      errorCorrection,
    })),
  };
}

export const samplesOf = ({ calibration }: Network): number =>
  calibration.reduce((sum, feeds) => sum + Object.values(feeds)[0]!.dims[0]!, 0);

/** Right answers of the float network. */
export function floatAccuracy(network: Network): number | null {
  return qualityOf(network, network.float).accuracy;
}

async function outputsOf(
  file: string,
  { judged, output }: Pick<Network, 'judged' | 'output'>,
): Promise<ModelOutputs[]> {
  const session = await loadSession(await readFile(file), file);
  const outputs: ModelOutputs[] = [];
  for (const feeds of judged) outputs.push(await runSession(session, feeds, [output], file));
  await session.release();
  return outputs;
}

function qualityOf({ float, output, labels }: Network, quantized: readonly ModelOutputs[]): Quality {
  const sum = new OutputErrorSum();
  for (const [i, outputs] of quantized.entries()) sum.add(float[i]!, outputs);
  const { error, cosine, rows } = sum.result()!;
  const logits = (): Float32Array =>
    Float32Array.from(quantized.flatMap((outputs) => [...(outputs[output]!.data as Float32Array)]));
  return { error, cosine: cosine!, rows, accuracy: labels && accuracy(logits(), labels) };
}
