import { types } from 'node:util';
import { locatedMemory } from '../errors';
import type { RowsKind } from '../native/binding';
import { methodsThat, traitsOf } from '../methods';
import { describe, requireInteger, requireKnown } from '../options/messages';
import { isFloat32Array, isFloat64Array, isFloatArray } from '../realms';
import type { LayerInput, Method } from '../types';
import { arrayNames } from './given-arrays';
import { ofSize, requireLayerMemory } from './layer-memory';

const names = ['outFeatures', 'inFeatures', ...arrayNames] as const;

/** Throws unless `value` is rows of `width` finite-precision numbers that a job can read. Returns the number of rows. */
function requireRows(name: string, value: unknown, width: number): number {
  if (!isFloatArray(value))
    throw new TypeError(`Expected "${name}" to be a Float32Array or Float64Array, not ${describe(value)}`);
  if (!types.isArrayBuffer(value.buffer))
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
  for (const name of ['activations', 'targetActivations', 'holdout', 'targetHoldout'] as const)
    if (layer[name] !== undefined) requireRows(name, layer[name], inFeatures);
  for (const name of ['gram', 'crossGram', 'outputGram'] as const) {
    const matrix = layer[name];
    if (matrix === undefined) continue;
    if (!isFloat64Array(matrix))
      throw new TypeError(`Expected "${name}" to be a Float64Array, not ${describe(matrix)}`);
    const of = name === 'outputGram' ? 'outFeatures' : 'inFeatures';
    const width = layer[of];
    if (requireRows(name, matrix, width) !== width)
      throw new RangeError(
        `Expected "${name}" to have ${of} × ${of} = ${width} × ${width} numbers, not ${matrix.length}`,
      );
  }
  if (layer.outputGram !== undefined && layer.activations === undefined && layer.gram === undefined)
    throw new RangeError(
      '"outputGram" needs "activations" or "gram": it says what errors of the outputs on these cost',
    );
  checkTargets(layer);
  checkWeights(layer, 'rowWeights', 'activations');
  checkWeights(layer, 'holdoutWeights', 'holdout');
  if (layer.holdoutWeights !== undefined && layer.rowWeights === undefined)
    throw new RangeError('"holdoutWeights" needs "rowWeights": the fit counts all rows alike without them');
}

/** One number a row. What the numbers are is looked at where they are used. */
function checkWeights(
  layer: LayerInput,
  name: 'rowWeights' | 'holdoutWeights',
  partner: 'activations' | 'holdout',
): void {
  const weights: unknown = layer[name];
  if (weights === undefined) return;
  if (!isFloat32Array(weights))
    throw new TypeError(`Expected "${name}" to be a Float32Array, not ${describe(weights)}`);
  const rows = layer[partner];
  if (rows === undefined) throw new RangeError(`"${name}" needs "${partner}", whose rows it weighs`);
  const count = rows.length / layer.inFeatures;
  if (weights.length !== count)
    throw new RangeError(
      `Expected "${name}" to have a number for each of the ${count} rows of "${partner}", not ${weights.length}`,
    );
}

/** What the float layer saw goes with what the quantized one will see, sample by sample. */
function checkTargets(layer: LayerInput): void {
  if (layer.crossGram !== undefined && layer.gram === undefined)
    throw new RangeError('"crossGram", X̃ᵀX, needs "gram", X̃ᵀX̃: with "activations" give "targetActivations"');
  for (const [name, partner] of [
    ['targetActivations', 'activations'],
    ['targetHoldout', 'holdout'],
  ] as const) {
    const target = layer[name];
    if (target === undefined) continue;
    const rows = layer[partner];
    if (rows === undefined)
      throw new RangeError(`"${name}" needs "${partner}": the rows of one belong to those of the other`);
    if (rows.length !== target.length)
      throw new RangeError(
        `Expected "${name}" to have as many rows as "${partner}", ${rows.length / layer.inFeatures}, not ${target.length / layer.inFeatures}`,
      );
  }
  if (
    layer.targetHoldout !== undefined &&
    layer.targetActivations === undefined &&
    layer.crossGram === undefined
  )
    throw new RangeError(
      '"targetHoldout" needs "targetActivations" or "crossGram": without them the fit aims at what the layer itself sees',
    );
}

/** Throws a RangeError where a layer says what the float layer saw, and the method has no use for it. */
export function refuseTargets(layer: LayerInput, method: Method): void {
  const { correctsErrors, needsData } = traitsOf(method);
  if (correctsErrors) return;
  const others = methodsThat((of) => of.correctsErrors).map((other) => `"${other}"`);
  for (const name of ['targetActivations', 'crossGram', 'outputGram'] as const)
    if (layer[name] !== undefined)
      throw new RangeError(
        needsData
          ? `The method "${method}" fits ${name === 'outputGram' ? 'each neuron by itself' : 'what the layer itself sees'}, and takes no "${name}": use ${others.slice(0, -1).join(', ')} or ${others.at(-1)}`
          : `"${name}" has no effect on the method "${method}", which rounds each weight for itself: leave it out`,
      );
}

/** The one that is given, which has no name. */
const theLayer = 'the layer';

/** What is made of a layer. Rejects as `work`; an error that tells of memory tells of the layer too. */
export async function workOn<Result>(layer: LayerInput, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw locatedMemory(ofSize(theLayer, layer), error);
  }
}

/**
 * Throws ERR_VERTEXQ_MEMORY where there is no room for fitting a layer to its data. `others`: kinds in which the data is kept at the
 * same time, for other methods.
 */
export function requireRoom(
  layer: LayerInput,
  method: Method,
  kind: RowsKind,
  others: readonly RowsKind[] = [],
): void {
  const { outFeatures, inFeatures, activations, gram, holdout, outputGram } = layer;
  if (!activations && !gram) return;
  const rows = activations ? activations.length / inFeatures : inFeatures;
  const holdoutRows = holdout ? holdout.length / inFeatures : 0;
  requireLayerMemory({
    ...{ name: theLayer, outFeatures, inFeatures, method, kind, rows, holdoutRows, others },
    hasOutputs: outputGram !== undefined,
  });
}
