import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { VertexqError } from '../errors';
import { InputFile } from '../files/input-file';
import { methodOptionNames, plainMethod, takes } from '../methods';
import { RunFiles } from '../runs/run-files';
import { requireTemporary, Workspace } from '../runs/workspace';
import { corrects, widthToTry } from '../sensitivity/corrected';
import { hasTarget, tryingMethod, without, withoutTarget } from '../sensitivity/target';
import type { SensitiveLayer, Sensitivity } from '../sensitivity/types';
import { version } from '../version';
import { changesWithShares } from './curvature/shares-left';
import { isSeen } from './layers/layer';
import { type ModelLayer, modelLayers } from './layers/model-layers';
import { digestsOf } from './manifest';
import type { OpenModel } from './open-model';
import { PlannedBytes } from './planned-bytes';
import { explainingData } from './data/not-finite';
import { prepareModel } from './prepare';
import type { Overrides } from './overrides';
import type { LayerOverride, ModelOptions } from './types';
import { possibleWidths } from './widths';

/** Of overrides what says how layers are stored. */
export const alphabetsOf = (overrides: readonly LayerOverride[]): LayerOverride[] =>
  overrides
    .map(({ layers, bits, levels, grid, groupSize }) => ({
      layers,
      ...(bits !== undefined && { bits }),
      ...(levels !== undefined && { levels }),
      ...(grid !== undefined && { grid }),
      ...(groupSize !== undefined && { groupSize }),
    }))
    .filter((own) => Object.keys(own).length > 1);

/** The options with which a network is measured: those of the run, but for how its layers are fitted. */
function optionsToMeasure(given: ModelOptions): ModelOptions {
  const { overrides, ...rest } = withoutTarget(given);
  const options: ModelOptions = without(rest, 'resume', 'otherKernels', 'weighting', 'errorCorrection');
  const method = given.method === plainMethod ? plainMethod : tryingMethod;
  for (const name of methodOptionNames) if (!takes(method, name)) delete options[name];
  return { ...options, method, ...(overrides && { overrides: alphabetsOf(overrides) }) };
}

/**
 * What each layer of a network alone, in each width that the format has for it, does to the network's outputs: `layerChanges` tells how. Options as those of `quantizeModel`;
 * `calibration` has to be there. `files`: what else is read and written. Rejects as that does.
 */
export async function measureModel(
  input: string,
  given: ModelOptions,
  files = new RunFiles(),
): Promise<Sensitivity> {
  const started = performance.now();
  if (given.calibration === undefined)
    throw new TypeError('Expected the "calibration" option to be data that the network is run on: without any, nothing can be told of its outputs'); // prettier-ignore
  const options = optionsToMeasure(given);
  const workspace = Workspace.temporary(true);
  await requireTemporary();
  const { settings, opened, found, data } = await prepareModel(
    files,
    input,
    workspace.folder,
    options,
    false,
  );
  if (settings.encoding.isPlain)
    throw new RangeError(`The format "${settings.format}" takes as many bytes in every width: there is nothing to choose`); // prettier-ignore
  const layers = modelLayers(found.layers, opened.weights, settings);
  const planned = new PlannedBytes(opened, layers, settings, true);
  const unmeasured = new Map<ModelLayer, string>();
  for (const layer of layers) {
    const own = hasTarget(given) ? givenWidth(layer, settings) : undefined;
    if (own !== undefined) unmeasured.set(layer, own);
    else if (!isSeen(layer)) unmeasured.set(layer, 'it sees no rows of the network');
  }
  const tried = layers.filter((layer) => !unmeasured.has(layer));
  const widths = possibleWidths(opened, tried, options, (layer) => planned.alikeOf(layer));
  try {
    const task = {
      ...{ opened, layers: tried, data: data!, cuts: {}, workspace, memory: settings.memory },
      triedOf: (layer: ModelLayer) => widths.get(layer)!.map((own) => own.settings),
    };
    const widthOf = (layer: ModelLayer) =>
      widthToTry(widths.get(layer)!, layer.outFeatures * layer.inFeatures);
    const changes = await explainingData(data!.notFinite, () =>
      changesWithShares(task, corrects(given) ? widthOf : null, options),
    );
    for (const layer of tried) {
      const own = changes.of.get(layer) ?? 'it sees no rows of the network';
      if (typeof own === 'string') unmeasured.set(layer, own);
    }
    // What one of those that share their codes keeps, all do.
    for (const layer of tried) {
      const kept = planned.alikeOf(layer).find((other) => unmeasured.has(other));
      if (kept && !unmeasured.has(layer))
        unmeasured.set(layer, `it shares its weight with "${kept.name}": ${unmeasured.get(kept)}`);
    }
    const measured = tried.filter((layer) => !unmeasured.has(layer));
    const [[first, reason] = [undefined, '']] = unmeasured;
    if (measured.length === 0)
      throw new VertexqError('ERR_VERTEXQ_NO_LAYERS', `${input} has no layer whose widths could be measured: "${first?.name}", ${reason}`); // prettier-ignore
    return {
      ...{ schema: 1, version, input, inputHash: await modelHash(opened), data: await digestsOf(data!) },
      ...{ how: 'estimated', unit: changes.kind === 'logits' ? 'kl' : 'squared-error', rows: changes.rows },
      ...{
        format: settings.format,
        method: settings.method,
        grid: typeof options.grid === 'string' ? options.grid : null,
      },
      layers: measured.map((layer): SensitiveLayer => {
        const alike = planned.alikeOf(layer);
        const of = changes.of.get(layer) as { change: number; error: number | null }[];
        return {
          ...{ name: layer.name, shape: [layer.outFeatures, layer.inFeatures] },
          group: alike.length > 1 ? alike[0]!.name : null,
          // Codes that several share are there once.
          widths: widths.get(layer)!.map(({ width, bytes }, i) => ({ ...width, bytes: alike[0] === layer ? bytes : 0, ...of[i]! })), // prettier-ignore
          ...(changes.left && { left: changes.left.get(layer)! }),
        };
      }),
      unmeasured: [...unmeasured].map(([{ name }, why]) => ({ name, reason: why })),
      warnings: data!.warnings,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    await workspace.end();
  }
}

/** Why a layer keeps the width that overrides give it; undefined where none does. */
function givenWidth(
  { name }: ModelLayer,
  { overrides }: { overrides: Pick<Overrides, 'of'> },
): string | undefined {
  const own = overrides
    .of(name)
    .find(({ options: { bits, levels, grid } }) => (bits ?? levels ?? grid) !== undefined);
  return own && `the option "${own.place}" gives it its width`;
}

/** Bytes that are hashed at once. */
const atOnce = 2 ** 24;

/** Tells a network from others: by its file, and the sizes of those of its data. */
export async function modelHash({ file, dataFiles }: Pick<OpenModel, 'file' | 'dataFiles'>): Promise<string> {
  const hash = createHash('sha256');
  await InputFile.with(file, async (opened) => {
    for (let at = 0; at < opened.size; at += atOnce)
      hash.update(await opened.read(at, Math.min(atOnce, opened.size - at)));
  });
  for (const path of dataFiles)
    await InputFile.with(path, ({ size }) => Promise.resolve(hash.update(`${basename(path)} ${size} `)));
  return hash.digest('hex');
}
