import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { TensorFile } from '../containers/tensor-file';
import { VertexqError } from '../errors';
import { formsOf } from '../encodings/safetensors/tensor-names';
import { methodOptionNames, plainMethod, takes } from '../methods';
import { changesWithShares } from '../models/curvature/shares-left';
import { digestsOf } from '../models/manifest';
import { defaults } from '../options/defaults';
import { overrideFinder } from '../overrides';
import { RunFiles } from '../runs/run-files';
import { requireTemporary, Workspace } from '../runs/workspace';
import type { SensitiveLayer, Sensitivity } from '../sensitivity/types';
import { corrects, widthToTry } from '../sensitivity/corrected';
import { hasTarget, tryingMethod, without, withoutTarget } from '../sensitivity/target';
import { version } from '../version';
import { Turns } from '../yielding';
import { checkCheckpointOptions, type CheckpointSettings, isFittedToText } from './checkpoint-options';
import { fusedGroups } from './fused-groups';
import type { Prepared } from './prepared';
import { withPrepared } from './prepare';
import { type CheckpointLayer, layersOf } from './run-network';
import type { CheckpointOptions, WeightOverride } from './types';
import { type PossibleWidth, widthsOf } from './widths';

/** The options with which a network is measured: those of the run, but for how its layers are fitted. */
function optionsToMeasure(given: CheckpointOptions): CheckpointOptions {
  const { method, overrides, ...rest } = withoutTarget(given);
  const options = without(rest as CheckpointOptions, 'resume', 'otherKernels', 'weighting', 'tuning', 'parts', 'maxFileSize'); // prettier-ignore
  const tried = method === plainMethod ? plainMethod : tryingMethod;
  for (const name of methodOptionNames) if (!takes(tried, name)) delete options[name];
  // The network is run all the same.
  return { ...options, method: tryingMethod, ...(overrides && { overrides: withoutMethods(overrides) }) };
}

/** Overrides of all but methods. */
export const withoutMethods = (overrides: readonly WeightOverride[]): WeightOverride[] =>
  overrides.map((own) => without(own, 'method')).filter((own) => Object.keys(own).length > 1);

/**
 * What each layer of a language model alone, in each width that the format has for it, does to the KL divergence of the next tokens: `layerChanges` tells how. Options as those of
 * `quantizeCheckpoint`; `calibration` or `ownSamples` has to be there. `files`: what else is read and written. Rejects as that does.
 */
export async function measureCheckpoint(
  input: string,
  given: CheckpointOptions,
  files = new RunFiles(),
): Promise<Sensitivity> {
  const started = performance.now();
  if (!isFittedToText(given))
    throw new TypeError('Expected the "calibration" option to be text that the model is run on: without any, nothing can be told of its outputs'); // prettier-ignore
  const tried = given.method === plainMethod ? plainMethod : tryingMethod;
  const options = optionsToMeasure(given);
  const settings = checkCheckpointOptions(options);
  if (settings.encoding.isPlain)
    throw new RangeError(`The format "${settings.format}" takes as many bytes in every width: there is nothing to choose`); // prettier-ignore
  // Nothing is written but what lives between parts of the network.
  const workspace = Workspace.temporary(true);
  await requireTemporary();
  return withPrepared(files, input, workspace.folder, options, async (prepared) => {
    const { plan, network, inputs } = prepared;
    const { opened, data } = network!;
    const fixed = reasonsFixed(prepared, settings, hasTarget(given));
    const weights = plan.weights.filter(({ tensor }) => !fixed.has(tensor));
    const layers = layersOf(opened, network!.layers, weights, settings);
    const known = new Map(weights.map((weight) => [weight, widthsOf(weight, settings)]));
    const widthsIn = (layer: CheckpointLayer) => known.get(layer.weight)!;
    try {
      const { ends, shape } = opened;
      const widthOf = (layer: CheckpointLayer) =>
        widthToTry(widthsIn(layer), layer.outFeatures * layer.inFeatures);
      const found = await changesWithShares(
        {
          ...{ opened, layers, data, workspace },
          triedOf: (layer) =>
            widthsIn(layer as CheckpointLayer).map((own) => ({ ...own.settings, method: tried })),
          cuts: { ends, head: { from: ends.at(-1)!, vocabulary: shape.vocabulary } },
          memory: Math.min(settings.memory, defaults.modelMemory),
        },
        corrects(given) ? (layer) => widthOf(layer as CheckpointLayer) : null,
        settings.options,
      );
      const sums = new Map<string, Pick<SensitiveLayer, 'widths' | 'left'> & { layer: CheckpointLayer }>();
      for (const layer of layers) {
        const changes = found.of.get(layer) ?? 'it sees no rows';
        const { tensor } = layer.weight;
        if (typeof changes === 'string') fixed.set(tensor, changes);
        else {
          const before = sums.get(tensor);
          // Of a weight that several layers share, the most that any of them leaves.
          const left = found.left && { left: Math.max(before?.left ?? 0, found.left.get(layer)!) };
          sums.set(tensor, { layer, ...left, widths: added(before?.widths, widthsIn(layer), changes) });
        }
      }
      const groups = await groupsOf(prepared, settings);
      // What one of them keeps, all do.
      const kept = new Map([...fixed].map(([tensor, reason]) => [groups.get(tensor), { tensor, reason }]));
      kept.delete(undefined);
      for (const tensor of [...sums.keys()]) {
        const of = kept.get(groups.get(tensor));
        if (!of) continue;
        sums.delete(tensor);
        fixed.set(tensor, `readers make one of it and "${of.tensor}": ${of.reason}`);
      }
      if (sums.size === 0) {
        const [[name, reason] = ['', '']] = fixed;
        throw new VertexqError('ERR_VERTEXQ_NO_LAYERS', `${input} has no layer whose widths could be measured: "${name}", ${reason}`); // prettier-ignore
      }
      return {
        ...{ schema: 1, version, input, inputHash: inputHash(inputs), data: await digestsOf(data) },
        ...{ how: 'estimated', unit: found.kind === 'logits' ? 'kl' : 'squared-error', rows: found.rows },
        ...{ format: settings.format, method: tried, grid: gridOf(settings) },
        layers: [...sums].map(([name, { layer, ...own }]) => ({
          ...{ name, shape: layer.weight.shape, group: groups.get(name) ?? null, ...own },
        })),
        unmeasured: [...fixed].map(([name, reason]) => ({ name, reason })),
        warnings: [...opened.shape.warnings, ...data.warnings],
        seconds: (performance.now() - started) / 1000,
      };
    } finally {
      await workspace.end();
    }
  });
}

const gridOf = ({ options: { grid } }: CheckpointSettings) => (typeof grid === 'string' ? grid : null);

/** Of a weight that several layers share, changes add up. */
const added = (
  before: SensitiveLayer['widths'] | undefined,
  widths: readonly PossibleWidth[],
  changes: readonly { change: number; error: number | null }[],
): SensitiveLayer['widths'] =>
  widths.map(({ width, bytes }, i) => {
    const { change, error } = changes[i]!;
    return { ...width, bytes, change: change + (before?.[i]?.change ?? 0), error };
  });

/** Why weights keep the width that options give them. */
function reasonsFixed(
  { plan }: Prepared,
  { overrides }: CheckpointSettings,
  isChosen: boolean,
): Map<string, string> {
  const fixed = new Map<string, string>();
  const overridesOf = overrideFinder(overrides, formsOf);
  for (const { tensor, inNetwork } of plan.weights) {
    const own = overridesOf(tensor).find(
      ({ options, blockType }) => (options.bits ?? options.levels ?? options.grid ?? blockType) !== undefined,
    );
    if (own && isChosen) fixed.set(tensor, `the option "${own.place}" gives it its width`);
    else if (!inNetwork) fixed.set(tensor, 'the network shows no rows of it');
  }
  return fixed;
}

/** What readers make one of, by tensor. */
async function groupsOf(
  { plan }: Prepared,
  { encoding, options }: CheckpointSettings,
): Promise<Map<string, string>> {
  if (encoding.mix || encoding.network) return new Map();
  const members = plan.weights.map(({ name, tensor, shape }) => ({ name, tensor, shape, settings: null, left: undefined })); // prettier-ignore
  const groups = await fusedGroups(members, new Turns(options.signal));
  return new Map(
    groups.flatMap(({ path, members: own }) => own.map(({ tensor }) => [tensor, path] as const)),
  );
}

/** Tells a network from others: by the headers of its files and their sizes. */
export function inputHash(files: readonly TensorFile[]): string {
  const hash = createHash('sha256');
  for (const { path, size, headerBytes } of [...files].sort((a, b) =>
    basename(a.path) < basename(b.path) ? -1 : 1,
  )) {
    hash.update(`${basename(path)} ${size} `);
    hash.update(headerBytes);
  }
  return hash.digest('hex');
}
