import { environment } from '../environment';
import { hasTarget, layerCalibration } from '../fit/layer-rows';
import { rowsKind } from '../methods';
import { takeArrays } from '../fit/given-arrays';
import { checkLayer, requireRoom, workOn } from '../fit/layer-input';
import { settingsOf } from '../fit/quantize-layer';
import { quantizeWeights } from '../fit/quantize-weights';
import type { LayerInput } from '../types';
import { jobOptions, chooseRuns } from './compare-options';
import { meanErrors } from './run-errors';
import type { ComparedRun, CompareOptions, Comparison } from './types';

/** `compareMethods` of a layer. */
export async function compareLayer(layer: LayerInput, given: CompareOptions): Promise<Comparison> {
  const started = performance.now();
  const options = { ...given };
  checkLayer(layer);
  const corrects = hasTarget(layer);
  const choices = chooseRuns(options, 'layer', corrects || layer.outputGram !== undefined).map((choice) => ({
    ...choice,
    settings: settingsOf(layer, choice.options),
    dataKind: rowsKind(choice.method, corrects),
  }));
  options.signal?.throwIfAborted();
  const kinds = [...new Set(choices.map(({ dataKind }) => dataKind))];
  // Each by itself first: then it is told of that one.
  for (const { method, dataKind } of choices) requireRoom(layer, method, dataKind);
  for (const { method, dataKind } of choices)
    requireRoom(layer, method, dataKind, kinds.filter((kind) => kind !== dataKind)); // prettier-ignore
  const { input, read } = await workOn(layer, async () => {
    const { layer: taken, requireUnchanged } = await takeArrays(layer, options.signal);
    const all = kinds.map((kind) => layerCalibration(taken, kind, options, requireUnchanged));
    return { input: taken, read: await Promise.all(all) };
  });
  const dataOf = new Map(kinds.map((kind, i) => [kind, read[i]!]));

  const runs: ComparedRun[] = [];
  for (const [i, { method, bits, settings, dataKind }] of choices.entries()) {
    const data = dataOf.get(dataKind)!;
    const job = jobOptions(options, choices, i);
    const { report } = await workOn(layer, () =>
      quantizeWeights({ name: 'layer', kind: 'Linear', ...input, ...data }, settings, job),
    );
    const { seconds, bytes } = report;
    const layers = [report];
    runs.push({ method, bits, layers, ...meanErrors(layers), output: null, score: null, seconds, bytes });
  }
  const [first] = read as [(typeof read)[number]];
  return {
    input: 'layer',
    methods: [...new Set(choices.map(({ method }) => method))],
    bits: [...new Set(choices.map(({ bits }) => bits))],
    samples: { calibration: first.calibration?.samples ?? 0, holdout: first.holdout?.samples ?? 0 },
    runs,
    score: null,
    skipped: [],
    seconds: (performance.now() - started) / 1000,
    warnings: [],
    environment: environment(),
  };
}
