import { alphabetKind, groupSizeFor, layerGrid, methodSettings, rankRule } from '../options';
import { checkOptions } from '../options/table';
import { rowsKind } from '../methods';
import { ggufTypes, unfit } from '../encodings/gguf/table';
import { copyInParts } from '../native/shared';
import { refuse } from '../options/messages';
import type { LayerInput, QuantizedLayer, QuantizeLayerOptions } from '../types';
import { hasTarget, layerCalibration } from './layer-rows';
import { takeArrays } from './given-arrays';
import { checkLayer, refuseTargets, requireRoom, workOn } from './layer-input';
import type { LayerSettings } from './layer-settings';
import { asQuantizedLayer, quantizeWeights } from './quantize-weights';

/**
 * Quantizes one layer's weights.
 *
 * The default method is `vertex` where there is data, else `msq`; the default grid `zero-free` for four levels or two, else
 * `asymmetric`. Rejects with a TypeError or RangeError for arguments; VertexqError ERR_VERTEXQ_NOT_FINITE at NaN or infinite numbers,
 * ERR_VERTEXQ_SCALE_RANGE, ERR_VERTEXQ_GRAM, ERR_VERTEXQ_NUMERIC, ERR_VERTEXQ_MEMORY; with the signal's reason when aborted.
 */
export async function quantizeLayer(
  layer: LayerInput,
  options: QuantizeLayerOptions = {},
): Promise<QuantizedLayer> {
  checkOptions('quantizeLayer', options);
  checkLayer(layer);
  const settings = settingsOf(layer, options);
  const started = performance.now();
  const kind = rowsKind(settings.method, hasTarget(layer));
  requireRoom(layer, settings.method, kind);
  const quantized = await workOn(layer, async () => {
    const { layer: input, requireUnchanged } = await takeArrays(layer, options.signal);
    const data = await layerCalibration(input, kind, options, requireUnchanged);
    return owned(
      await quantizeWeights({ name: 'layer', kind: 'Linear', ...input, ...data }, settings, options),
    );
  });
  quantized.report.seconds = (performance.now() - started) / 1000;
  return quantized;
}

/** With arrays that can be transferred to other threads: memory of the addon's cannot. */
async function owned(values: QuantizedLayer): Promise<QuantizedLayer> {
  const { codes, scales, zeroPoints, minima } = values;
  return asQuantizedLayer({
    ...values,
    codes: await ownCopy(codes),
    scales: await ownCopy(scales),
    zeroPoints: zeroPoints && (await ownCopy(zeroPoints)),
    minima: minima && (await ownCopy(minima)),
  });
}

async function ownCopy<Values extends Int8Array | Float32Array>(values: Values): Promise<Values> {
  const copy = new (values.constructor as new (length: number) => Values)(values.length);
  await copyInParts(values, copy);
  return copy;
}

/** Checks a layer's options together and fills in the defaults. The layer, and each option by itself, must have been checked. */
export function settingsOf(layer: LayerInput, options: QuantizeLayerOptions): LayerSettings {
  const method = methodSettings(options, layer.activations !== undefined || layer.gram !== undefined);
  refuseTargets(layer, method.method);
  return {
    ...(blockSettings(layer, options) ?? {
      ...alphabetKind(options, layerGrid),
      groupSize: groupSizeFor(options, layer.inFeatures),
    }),
    ...method,
    ...rankRule(options, layer.inFeatures, 'auto'),
  };
}

/** What a block type tells; undefined without one. */
function blockSettings({ outFeatures, inFeatures }: LayerInput, options: QuantizeLayerOptions) {
  if (options.blockType === undefined) return undefined;
  const type = ggufTypes[options.blockType];
  for (const name of ['bits', 'levels', 'grid', 'groupSize'] as const)
    if (options[name] !== undefined)
      refuse([name, 'blockType'], `The "blockType" option tells what "${name}" would: leave one of them out`);
  const reason = unfit(type, [outFeatures, inFeatures]);
  if (reason !== undefined)
    refuse(
      ['blockType'],
      `The layer cannot be ${type.name}: ${reason}${type.fallback ? `. Use "${type.fallback}"` : ''}`,
    );
  return type.settings;
}
