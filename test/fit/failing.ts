import type { ExecutionContext } from 'ava';
import { preprocess, quantizeLayer, VertexqError, type LayerInput } from '../../lib/index';
import { normals } from './data';

export const inFeatures = 12;
export const outFeatures = 3;

export function layerOf(changes: Partial<LayerInput> = {}): LayerInput {
  const activations = normals(20 * inFeatures, 2);
  return { weight: normals(outFeatures * inFeatures, 1), activations, outFeatures, inFeatures, ...changes };
}

/** A layer with things of no type it takes, as JavaScript can call it. */
export const untyped = (changes: object): LayerInput => ({ ...layerOf(), ...changes });

/** Both calls must reject with such an error. */
export async function fails(
  t: ExecutionContext,
  layer: LayerInput,
  options: object,
  expected: { code?: string; type?: new (message: string) => Error; message: RegExp },
): Promise<void> {
  for (const call of [quantizeLayer, preprocess]) {
    const error = await t.throwsAsync<Error & { code?: string }>(call(layer, options), {
      message: expected.message,
    });
    if (expected.code) t.is(error?.code, expected.code);
    t.true(error instanceof (expected.type ?? VertexqError), `${error?.name} for ${call.name}`);
  }
}
