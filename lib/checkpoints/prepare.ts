import { createHash } from 'node:crypto';
import { type Kernels, kernels } from '../environment';
import { VertexqError } from '../errors';
import { importanceOf, readImatrix } from '../containers/gguf/imatrix';
import { expertName } from './gguf/network';
import { InputFile } from '../files/input-file';
import { sampledHash } from '../files/sampled-hash';
import { plainPath } from '../files/plain-path';
import { timeOf } from '../files/output-file';
import type { Checkpoint } from '../containers/safetensors/checkpoint';
import type { TensorFile } from '../containers/tensor-file';
import { rowsKind, defaultMethod, plainMethod } from '../methods';
import { requireLayerMemory } from '../fit/layer-memory';
import { dataDigests } from '../models/data-digest';
import { digestsOf } from '../models/manifest';
import { runtimeVersion } from '../models/runtime';
import type { Scheme } from '../encodings/encoding';
import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import { mostBits, type Widenable, widerWarnings } from '../encodings/wider-codes';
import { fewOf } from '../reports/text';
import { plural } from '../reports/units';
import { version } from '../version';
import { requireBatches } from '../traversal/parts';
import { Turns } from '../yielding';
import { checkpointPath, requirePath } from '../options/messages';
import { type DataHashes, ownOptions, type Provenance, provenanceOf } from '../runs/provenance';
import type { RunFiles } from '../runs/run-files';
import {
  checkCheckpointOptions,
  type CheckpointSettings,
  isFittedToText,
  requireNamed,
  hasParts,
} from './checkpoint-options';
import { companionsOf } from './companions';
import { documentsOf } from './documents';
import { planGguf } from './gguf/plan';
import type { ModelIdentity } from './model-identity';
import type { CheckpointNetwork } from './network';
import { memoryOf } from './make-unit';
import { type Plan, planOf, unitVersion } from './plan';
import type { PlannedWeight, WeightScheme } from './planned-weight';
import { readerWarnings } from './reader-warnings';
import { RecordedInputs } from './recorded-inputs';
import { openGenerator } from './generator';
import { requireFree } from './output';
import { addCheckpointFiles } from './output-files';
import { addCheckpointPaths } from './run-files';
import type { Prepared } from './prepared';
import { openSource } from './source';
import type { CheckpointOptions } from './types';
import type { Manifest } from '../runs/work-folder';
import { warn, type Warning } from '../warning-codes';

/** Checks options, opens the input, decides, runs `use`, and closes everything. `files`: what else the run reads and writes; `isDry`: nothing is to be run; `fittedWith`: kernels of fits that are made elsewhere. */
export async function withPrepared<Result>(
  files: RunFiles,
  input: string,
  to: string,
  given: CheckpointOptions,
  use: (prepared: Prepared) => Promise<Result>,
  isDry = false,
  fittedWith?: Kernels,
): Promise<Result> {
  requirePath('input', input, checkpointPath);
  requirePath('output', to, checkpointPath);
  const output = plainPath(to);
  const checked = checkCheckpointOptions(given);
  const settings = { ...checked, options: ownOptions(checked.options), isDry };
  requireNamed(output, settings);
  settings.options.signal?.throwIfAborted();
  const source = await openSource(input, settings);
  let recorded: RecordedInputs | null = null;
  try {
    const { checkpoint, identity, inputs, model } = source;
    const isFile = checkpoint.folder === null || model !== null;
    const companions =
      isFile || source.documents
        ? { files: new Map(), warnings: [] }
        : await companionsOf(checkpoint.folder!);
    if (settings.activations.length > 0)
      recorded = await RecordedInputs.open(settings.activations, settings.options.signal);
    const generator = settings.encoding.network ? openGenerator(checkpoint, identity) : null;
    if (settings.options.ownSamples !== undefined && !isDry) await requireFree(output);
    const network = runsNetwork(settings) ? await source.network() : null;
    const provenance = await provenanceIn(settings, inputs, recorded, network, fittedWith);
    const plan = model
      ? await planGguf(model, settings, network, provenance, new Turns(settings.options.signal))
      : await planOf(checkpoint, settings, recorded, network, identity, provenance);
    const { imatrix } = settings.options;
    if (imatrix !== undefined) await weigh(plan, imatrix, settings.options.signal);
    if (network && hasParts(settings.options))
      requireBatches(network.data.fit.length, settings.options.parts!);
    requireRoom(plan, settings);
    requireFits(plan, settings);
    await addWarnings(plan, settings, recorded, network, checkpoint, identity);
    plan.warnings.push(...companions.warnings);
    const turns = new Turns(settings.options.signal);
    const documents = isFile ? [] : await documentsOf(checkpoint, identity, plan, settings.encoding, turns);
    documents.push(...(source.documents ?? []));
    plan.warnings.push(...(source.warnings ?? []));
    const prepared = {
      ...{ settings, output, checkpoint, inputs, isFile, identity, companions, recorded },
      ...{ network, generator, plan, documents, provenance },
    };
    await addCheckpointPaths(files, input, output, settings.options);
    addCheckpointFiles(files, output, prepared);
    await files.check();
    return await use(prepared);
  } finally {
    await recorded?.close();
    await source.close();
  }
}

/** What the output says of itself. */
async function provenanceIn(
  { options, format }: CheckpointSettings,
  inputs: readonly TensorFile[],
  recorded: RecordedInputs | null,
  network: CheckpointNetwork | null,
  fittedWith: Kernels | undefined,
): Promise<Provenance> {
  const paths = (files: Iterable<TensorFile>) => [...new Set([...files].map(({ path }) => path))];
  const { imatrix } = options;
  const data: DataHashes = {
    ...(network && (await dataDigests(network.data, new Turns(options.signal)))),
    ...(recorded && { activations: await sampledHash(paths(recorded.paths)) }),
    ...(imatrix !== undefined && { imatrix: await sampledHash([imatrix]) }),
  };
  const hasData = Object.keys(data).length > 0;
  const input = await sampledHash(paths(inputs));
  const runtime = network && runtimeVersion();
  return provenanceOf(options, format, input, hasData ? data : null, runtime, fittedWith);
}

/** Whether some weight is fitted to what the checkpoint's own network gives. */
export function runsNetwork({ options, overrides }: CheckpointSettings): boolean {
  const { method = defaultMethod(true) } = options;
  const methods = [method, ...overrides.map(({ options }) => options.method ?? plainMethod)];
  return isFittedToText(options) && methods.some((name) => name !== plainMethod);
}

/** Gives weights what an importance matrix tells of them, and says of which it tells nothing. */
async function weigh(
  { weights, warnings }: Plan,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const matrix = await readImatrix(path, { signal });
  const names = new Set(weights.map(({ name }) => name));
  for (const weight of weights) weight.importance = importanceOf(path, matrix, weight.name, weight.shape);
  const without = weights.filter(({ importance }) => !importance).map(({ name }) => name);
  if (without.length === weights.length)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      `${path} tells of no weight that is quantized: of ${fewOf([...matrix.keys()], 4)}, and the weights are called ${fewOf(without, 4)}`,
    );
  if (without.length > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_ROWS_ALIKE',
        `${path} tells nothing of ${fewOf(without, 4)}: all their inputs count alike.`,
      ),
    );
  const unreached = weights.flatMap(({ name, shape, importance }) =>
    matricesWithout(importance, shape[1]).map((matrix) =>
      importance!.length === shape[1] ? name : expertName(name, matrix),
    ),
  );
  if (unreached.length > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_ROWS_ALIKE',
        `${path} has nothing but zeros for ${fewOf(unreached, 4)}, which no token has reached: all their inputs count alike.`,
      ),
    );
  const unused = [...matrix.keys()].filter((name) => !names.has(name));
  if (unused.length > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_UNUSED_DATA',
        `Of ${path} unused, as they belong to no weight that is quantized: ${fewOf(unused, 4)}.`,
      ),
    );
}

/** The matrices of so many inputs of which no input counts. */
function matricesWithout(importance: Float32Array | null, inFeatures: number): number[] {
  const matrices = importance ? importance.length / inFeatures : 0;
  return Array.from({ length: matrices }, (_, i) => i).filter((i) =>
    importance!.subarray(i * inFeatures, (i + 1) * inFeatures).every((value) => value === 0),
  );
}

/** Throws ERR_VERTEXQ_MEMORY where one piece of work alone takes more than buffers may. */
function requireRoom({ shards }: Plan, { memory }: CheckpointSettings): void {
  for (const { units } of shards)
    for (const unit of units)
      if ('weight' in unit && memoryOf(unit) > memory)
        throw new VertexqError(
          'ERR_VERTEXQ_MEMORY',
          `tensor "${unit.weight.name}" takes buffers of ${memoryOf(unit)} bytes, and the "memory" option allows ${memory}`,
        );
}

/** Throws ERR_VERTEXQ_MEMORY where the fit to what a layer sees would have no room. */
function requireFits({ weights }: Plan, { holdout }: CheckpointSettings): void {
  for (const { name, shape, settings, recorded } of weights) {
    if (!recorded) continue;
    const [outFeatures, inFeatures] = shape;
    const { method } = settings;
    const kind = rowsKind(method, false);
    const rows = recorded.kind === 'gram' ? inFeatures : Math.ceil(recorded.rows * (1 - holdout));
    const holdoutRows = recorded.kind === 'gram' ? 0 : recorded.rows - rows;
    requireLayerMemory({
      name: `tensor "${name}"`,
      outFeatures,
      inFeatures,
      method,
      kind,
      rows,
      holdoutRows,
    });
  }
}

async function addWarnings(
  plan: Plan,
  { encoding, format, options }: CheckpointSettings,
  recorded: RecordedInputs | null,
  network: CheckpointNetwork | null,
  { folder, input }: Checkpoint,
  identity: ModelIdentity,
): Promise<void> {
  const without = plan.weights.filter((weight) => !weight.isFitted).map(({ name }) => name);
  if (recorded && without.length === plan.weights.length)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      `The recorded inputs are for no weight that is quantized: they are called ${fewOf(recorded.unused, 4)}, and the weights ${fewOf(without, 4)}`,
    );
  if (network) {
    plan.warnings.push(...network.opened.shape.warnings, ...network.data.warnings);
    const { tokens } = network.data.counts.fit;
    const widest = plan.weights.reduce((most, { inNetwork, shape }) => Math.max(most, inNetwork ? shape[1] : 0), 0); // prettier-ignore
    if (tokens !== null && tokens < widest)
      plan.warnings.push(
        warn(
          'WARN_VERTEXQ_FEW_ROWS',
          `Only ${plural(tokens, 'token')} to fit to, and layers have up to ${widest} inputs: outputs on other text may be far worse. Give ${2 * widest} tokens or more.`,
        ),
      );
  }
  if (isFittedToText(options) && !network)
    plan.warnings.push(
      warn(
        'WARN_VERTEXQ_NO_EFFECT',
        `The "${options.ownSamples === undefined ? 'calibration" data' : 'ownSamples" option'} has no effect: the method "msq" rounds every weight by itself, with scales searched for the least weight error.`,
      ),
    );
  else if (!recorded && !network && options.imatrix === undefined)
    plan.warnings.push(
      warn(
        'WARN_VERTEXQ_NO_DATA',
        'No calibration data ("calibration") and no recorded inputs ("activations"): every weight is rounded by itself ("msq") with scales searched for the least weight error.',
      ),
    );
  else if (without.length > 0 && (recorded || network))
    plan.warnings.push(
      warn(
        'WARN_VERTEXQ_NOT_FITTED',
        `${network ? 'Not fitted to the data are' : 'Nothing is recorded for'} ${fewOf(without, 4)}: rounded by themselves ("msq") with scales searched for the least weight error.`,
      ),
    );
  if (recorded && recorded.unused.length > 0)
    plan.warnings.push(
      warn(
        'WARN_VERTEXQ_UNUSED_DATA',
        `Recorded inputs that belong to no weight: ${fewOf(recorded.unused, 4)}.`,
      ),
    );
  if (!encoding.isPlain && !encoding.mix && folder === null)
    plan.warnings.push(
      warn(
        'WARN_VERTEXQ_NO_CONFIG',
        `${input} ${identity.config ? 'is given without its folder, whose config.json stays as it is' : 'has no config.json with it'}: what loaders need to know is in the output's metadata, "quantization_config". Give the folder to have a config.json written.`,
      ),
    );
  const turns = new Turns(options.signal);
  plan.warnings.push(...(await widerOf(plan, encoding, format, turns)));
  plan.warnings.push(...(await readerWarnings(plan, encoding, identity, turns)));
}

/** Which weights could have more bits in the same bytes. */
async function widerOf(
  { weights }: Plan,
  encoding: CheckpointEncoding,
  format: string,
  turns: Turns,
): Promise<Warning[]> {
  if (encoding.isPlain || encoding.mix) return [];
  const known = new Map<WeightScheme, number>();
  const most = ({ scheme }: PlannedWeight) => {
    const { shape, dtype, settings, layout } = scheme;
    const found =
      known.get(scheme) ??
      mostBits(settings, (other) => {
        if (other.bits === settings.bits) return layout.byteLength;
        const isHeld = isHeldBy(encoding, other) && encoding.unfit(shape, other) === undefined;
        return isHeld ? encoding.layout(shape, dtype, other).byteLength : undefined;
      });
    known.set(scheme, found);
    return found;
  };
  const widenable: Widenable[] = [];
  for (const weight of weights) {
    if (turns.due) await turns.next();
    const { bits } = weight.settings;
    const found = most(weight);
    if (found > bits) widenable.push({ name: weight.name, bits, most: found });
  }
  return widerWarnings(format, widenable);
}

function isHeldBy(encoding: CheckpointEncoding, scheme: Scheme): boolean {
  try {
    encoding.check(scheme);
    return true;
  } catch {
    return false;
  }
}

/** Of a file of modest size. */
const digestOf = (path: string) =>
  InputFile.with(path, async (file) =>
    createHash('sha256')
      .update(await file.read(0, file.size))
      .digest('hex'),
  );

/** What the bytes of the output depend on. */
export async function manifestOf(
  settings: CheckpointSettings,
  { inputs, recorded, network }: Prepared,
): Promise<Manifest> {
  const chosen = { ...settings.options };
  // These change how the work is done, not what comes of it; recorded inputs are told by their files.
  for (const name of [
    'activations',
    'calibration',
    'tokenizer',
    'memory',
    'resume',
    'otherKernels',
    'threads',
    'signal',
    'onProgress',
    'onWarning',
  ] as const)
    delete chosen[name];
  if (isFittedToText(settings.options)) delete chosen.holdout;
  if (chosen.imatrix !== undefined) chosen.imatrix = await digestOf(chosen.imatrix);
  const files = (list: Iterable<TensorFile>) =>
    Object.fromEntries([...list].map((f) => [f.path, identity(f)]));
  return {
    vertexq: version,
    units: unitVersion,
    input: files(inputs),
    activations: recorded ? files(recorded.paths) : {},
    data: network && (await digestsOf(network.data)),
    options: chosen,
    kernels: kernels(),
    onnxruntime: network && runtimeVersion(),
  };
}

function identity({ size, modified, headerBytes }: TensorFile): Record<string, unknown> {
  const header = createHash('sha256').update(headerBytes).digest('hex');
  return {
    bytes: size,
    modified: timeOf(modified),
    nanoseconds: String(modified),
    header,
  };
}
