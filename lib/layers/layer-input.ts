import { describe, requireInteger, requireKnown } from '../options';
import { VertexqError } from '../errors';
import type { FloatArray, LayerInput } from '../types';

const names = [
  'weight',
  'outFeatures',
  'inFeatures',
  'activations',
  'targetActivations',
  'holdout',
  'gram',
  'crossGram',
] as const;

function isFloatArray(value: unknown): value is FloatArray {
  return value instanceof Float32Array || value instanceof Float64Array;
}

/** Throws unless `value` is rows of `width` finite-precision numbers that a job can read. Returns the number of rows. */
function requireRows(name: string, value: unknown, width: number): number {
  if (!isFloatArray(value))
    throw new TypeError(`Expected "${name}" to be a Float32Array or Float64Array, not ${describe(value)}`);
  if (!(value.buffer instanceof ArrayBuffer))
    throw new TypeError(
      `Expected "${name}" not to be over a SharedArrayBuffer: copy it first, with .slice()`,
    );
  if (value.length === 0)
    throw new RangeError(
      `Expected "${name}" to have rows of ${width} numbers: it is empty, or its ArrayBuffer was transferred`,
    );
  if (value.length % width !== 0)
    throw new RangeError(
      `Expected "${name}" to have whole rows of ${width} numbers, not ${value.length} numbers`,
    );
  return value.length / width;
}

/** Checks a layer's arrays against each other. */
export function checkLayer(layer: LayerInput): void {
  requireKnown(layer, names, 'layer property');
  const outFeatures = requireInteger('outFeatures', layer.outFeatures, 1, 2 ** 31 - 1, 'property');
  const inFeatures = requireInteger('inFeatures', layer.inFeatures, 1, 2 ** 31 - 1, 'property');
  if (requireRows('weight', layer.weight, inFeatures) !== outFeatures)
    throw new RangeError(
      `Expected "weight" to have outFeatures × inFeatures = ${outFeatures} × ${inFeatures} numbers, not ${layer.weight.length}`,
    );
  if (layer.activations !== undefined && layer.gram !== undefined)
    throw new TypeError('Give "activations" or "gram", not both: each says all about the data');
  if (layer.activations !== undefined) requireRows('activations', layer.activations, inFeatures);
  if (layer.holdout !== undefined) requireRows('holdout', layer.holdout, inFeatures);
  if (layer.gram !== undefined) {
    if (!(layer.gram instanceof Float64Array))
      throw new TypeError(`Expected "gram" to be a Float64Array, not ${describe(layer.gram)}`);
    if (requireRows('gram', layer.gram, inFeatures) !== inFeatures)
      throw new RangeError(
        `Expected "gram" to have inFeatures × inFeatures = ${inFeatures} × ${inFeatures} numbers, not ${layer.gram.length}`,
      );
  }
  for (const name of ['targetActivations', 'crossGram'] as const)
    if (layer[name] !== undefined)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `"${name}" is for error correction, which no method of this version does: leave it out`,
      );
}

/**
 * The layer with copies of the arrays that are read only after the first `await` of a call, where the caller may have changed
 * or transferred his. The first to be read, `activations` or `gram`, is copied when its job starts, at once.
 */
export function snapshot(layer: LayerInput): LayerInput {
  const { weight, holdout } = layer;
  return { ...layer, weight: weight.slice(), ...(holdout && { holdout: holdout.slice() }) };
}
