import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { LayerJournal } from '../models/layer-journal';
import type { ModelLayer } from '../models/layers/model-layers';
import { writeModel } from '../models/model-steps';
import { WeightStores } from '../models/write/stores';
import type { WorkFolder } from '../runs/work-folder';
import { Workspace } from '../runs/workspace';
import { Traversal } from '../traversal/traversal';
import { anyInputs, type CheckpointSettings, weightSettings } from './checkpoint-options';
import { configName } from './companions';
import { networkConfig, networkName } from './generator';
import { layersIn } from './network';
import type { Plan } from './plan';
import type { Prepared } from './prepared';
import type { Made } from './report';
import { type CheckpointLayer, forwardOf, layersOf, partsOf, traversalPartsOf } from './run-network';

/**
 * Quantizes the weights of a plan and writes the network, in the form with a cache, with them in it. They are fitted in the form without, which
 * has the same layers by the same names. Rejects as a traversal does.
 */
export async function writeNetwork(
  { plan, network, generator, identity, documents, provenance }: Prepared,
  output: string,
  work: WorkFolder,
  settings: CheckpointSettings,
): Promise<Made> {
  const cached = generator!;
  const { options, encoding } = settings;
  const { signal, onProgress } = options;
  const twins = layersOf(cached, layersIn(cached), plan.weights, settings);
  requireAll(twins, plan);
  const byNode = new Map(twins.map((twin) => [twin.node.name, twin]));
  const twinOf = ({ node }: ModelLayer) => byNode.get(node.name)!;
  const path = join(output, networkName(plan));
  const workspace = new Workspace(path, work.scratch());
  let journal: LayerJournal | null = null;
  try {
    journal = network && (await LayerJournal.open(work));
    const cut = partsOf(settings);
    const run = network && forwardOf(network, plan, workspace, settings, cut);
    const layers = run?.fitted ?? twins;
    const stores = new WeightStores(cached, twins, encoding.network!, network !== null, workspace);
    const sink = {
      store: (layer: CheckpointLayer, ...of: [Parameters<typeof stores.store>[1], AbortSignal?]) =>
        stores.store(twinOf(layer), ...of),
    };
    const others = run && (await traversalPartsOf(network, run, workspace, settings, cut));
    const forward = run?.forward ?? null;
    const parts = { ...others, journal };
    const done = await new Traversal(layers, forward, sink, options, parts).run();
    onProgress?.({ stage: 'write', done: 0, total: 1 });
    // What experts would see of all tokens is in the network that is fitted alone.
    const replacements = done
      .filter(({ layer }) => !layer.follows)
      .map((one) => ({ ...one, layer: twinOf(one.layer) }));
    const { method, groupSize, ...kind } = weightSettings(settings, [], anyInputs, network !== null);
    const told = {
      ...{ method, kind, groupSize: groupSize === anyInputs ? ('channel' as const) : groupSize },
      ...{ format: settings.format, externalData: undefined, provenance },
      errorCorrection: replacements.some(({ report }) => report.errorCorrection),
    };
    const written = await writeModel(cached, replacements, stores, basename(path), workspace, told, signal);
    signal?.throwIfAborted();
    await mkdir(dirname(path), { recursive: true });
    await workspace.publish(written.files.map(({ name }) => name));
    // How many files of data there are is known only now.
    const config = documents.find(({ name }) => name === configName)!;
    config.data = Buffer.from(networkConfig(identity.config!, plan, written.files.length - 1));
    return {
      layers: written.layers,
      resumed: journal?.resumed ?? 0,
      bytes: written.files.reduce((sum, { bytes }) => sum + bytes, 0),
      weightsAfter: written.weights.after,
      checksums: new Map(),
    };
  } finally {
    await journal?.close();
    await workspace.end();
  }
}

/** Throws a RangeError where a weight is not one of the network's layers, or there are none. */
function requireAll(layers: readonly CheckpointLayer[], { weights }: Plan): void {
  const found = new Set(layers.map(({ weight }) => weight));
  const other = weights.find((weight) => !found.has(weight));
  if (other)
    throw new RangeError(
      `"${other.name}" is no weight that the network multiplies with: leave it out with "skip" (--skip)`,
    );
  if (weights.length === 0)
    throw new VertexqError('ERR_VERTEXQ_NO_LAYERS', 'There is no weight that the format "onnx" can hold');
}
