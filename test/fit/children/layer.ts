import { createHash } from 'node:crypto';
import { preprocess, quantizeLayer, type LayerInput } from '../../../lib/index';
import { normals } from '../data';

/** A layer whose walk takes a few seconds with 1024 inputs, and milliseconds with 64. */
export function layerOf(inFeatures: number, seed = 1): LayerInput {
  return {
    weight: normals(inFeatures * inFeatures, seed),
    activations: normals(inFeatures * (inFeatures / 2), seed + 1),
    inFeatures,
    outFeatures: inFeatures,
  };
}

/** Starts long work that is never waited for. */
export function startLongJob(): void {
  preprocess(layerOf(1024)).catch(() => {});
}

/** Quantizes a layer. Returns a digest of the answer's bytes. */
export async function digest(inFeatures: number, seed: number): Promise<string> {
  const { codes, scales, zeroPoints } = await quantizeLayer(layerOf(inFeatures, seed));
  const hash = createHash('sha256').update(codes).update(scales);
  return hash.update(zeroPoints ?? '').digest('hex');
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
