import { basename } from 'node:path';
import type { Verification, VerifiedWeight } from '../../checkpoints/types';
import { namingMemory, VertexqError } from '../../errors';
import { describe, networkPath, requirePath } from '../../options/messages';
import { checkOptions } from '../../options/table';
import type { FloatArray, JobOptions } from '../../types';
import { relativeError } from '../../relative-error';
import { indexWhere, inParts, Turns } from '../../yielding';
import { loadStage } from '../forward/stage-network';
import { findLayers } from '../layers/find-layers';
import type { Layer } from '../layers/layer';
import { asNodeSees, weightOf } from '../layers/weight-values';
import { intAttribute, type Scope } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import { dimsOf } from '../../containers/onnx/tensor';
import { openModel, type OpenModel } from '../open-model';
import { byNames, checkChecksum, checksumKey } from '../../runs/own-checksum';
import { weightName } from '../write/view';
import { constantsOf, madeOf, scopesOf, storedIn, storedTensors } from './scoped-values';
import { type PackedNode, packedIn, unpackedValues } from './packed-values';

/**
 * Reads a quantized ONNX network back as runtimes do, and compares it with the float one that it was made of: codes in blocks are unpacked, what a DequantizeLinear and steps behind it make is computed by
 * onnxruntime; all other weights must be the original's. Without an original, weights are read and must be finite. What is wrong is told in `faults`.
 *
 * Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX, ERR_VERTEXQ_RUNTIME or ERR_VERTEXQ_MEMORY where one cannot be read, ERR_VERTEXQ_UNSUPPORTED where the first holds no weight in few bits and no original is given; TypeError
 * and RangeError for arguments; with the signal's reason.
 */
export async function verifyModel(
  quantized: string,
  original?: string,
  options: JobOptions = {},
): Promise<Verification> {
  requirePath('quantized network', quantized, networkPath);
  if (original !== undefined) requirePath('original', original, networkPath);
  checkOptions('verifyModel', options);
  return namingMemory(quantized, async () => {
    const opened = await openModel(quantized);
    const { file, dataFiles, model } = opened;
    const told = model.metadataProps.find(({ key }) => key === checksumKey)?.value;
    const other = original === undefined ? null : await openModel(original);
    const { faults, ...found } = await new ModelVerifier(opened, other, options).run();
    const check = await checkChecksum([file, ...byNames(dataFiles, basename)], told, options.signal);
    const manifest = check && { files: check.files, bytes: check.bytes };
    return { ...found, manifest, faults: [...faults, ...(check?.faults ?? [])] };
  });
}

/** A weight in few bits: integers that a node turns into floats. */
interface Dequantizing {
  node: NodeProto;
  scope: Scope;
  integers: TensorProto;
}

class ModelVerifier {
  private readonly weights: VerifiedWeight[] = [];
  private readonly faults: string[] = [];
  private readonly notCompared: string[] = [];
  private readonly identical = { tensors: 0, bytes: 0 };
  private readonly packed: PackedNode[] = [];
  private readonly dequantizing = new Map<NodeProto, Dequantizing>();
  /** The graphs of the quantized network, by where they stand. */
  private readonly scopes: ReadonlyMap<string, Scope>;
  private done = 0;

  constructor(
    private readonly opened: OpenModel,
    private readonly original: OpenModel | null,
    private readonly options: JobOptions,
  ) {
    this.scopes = new Map(scopesOf(opened.graph));
  }

  async run(): Promise<Verification> {
    const started = performance.now();
    const { opened, original, weights, faults, notCompared, identical } = this;
    this.find();
    if (original) await this.compare(original);
    else if (this.packed.length + this.dequantizing.size === 0)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${opened.file} has no weights in few bits that are read here: give the original too, to compare values`,
      );
    else await this.readAll();
    return {
      ...{
        quantized: opened.file,
        original: original?.file ?? null,
        weights,
        identical,
        faults,
        notCompared,
        manifest: null,
      },
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Finds the weights in few bits. */
  private find(): void {
    for (const { node, scope } of this.opened.graph.placed()) {
      const packed = packedIn(node, scope);
      if (typeof packed === 'string') this.notCompared.push(`node ${describe(nameOf(node))}: ${packed}`);
      else if (packed) this.packed.push(packed);
      const integers = node.opType === 'DequantizeLinear' ? storedIn(scope, node.input[0]!) : undefined;
      if (integers && dimsOf(integers).length > 1) this.dequantizing.set(node, { node, scope, integers });
    }
  }

  /** Reads them, with nothing to compare with. */
  private async readAll(): Promise<void> {
    const { weights } = this.opened;
    for (const own of this.packed) {
      const values = () => unpackedValues(own, weights, this.options.signal);
      await this.weight(nameOf(own.node), this.toldOf(own), values, null);
    }
    for (const own of this.dequantizing.values()) {
      const values = () => this.valueOf(own.scope, own.node.output[0]!);
      await this.weight(nameOf(own.node), this.toldOf(own), values, null);
    }
  }

  /** Bits and groups of a weight, as they lie in the file. */
  private toldOf(own: PackedNode | Dequantizing): Omit<VerifiedWeight, 'name' | 'error'> {
    const { weights } = this.opened;
    if ('codes' in own) {
      const { shape, bits, blockSize: groupSize, codes, scales, zeroPoints } = own;
      const tensors = [codes, scales, ...(zeroPoints ? [zeroPoints] : [])];
      return {
        shape,
        bits,
        groupSize,
        bytes: tensors.reduce((sum, tensor) => sum + weights.byteLengthOf(tensor), 0),
      };
    }
    const { node, scope, integers } = own;
    const dims = dimsOf(integers);
    const count = dims.reduce((product, dim) => product * dim, 1);
    const tensors = node.input.flatMap((name) => storedIn(scope, name) ?? []);
    const bytes = tensors.reduce((sum, tensor) => sum + weights.byteLengthOf(tensor), 0);
    const blockSize = intAttribute(node, 'block_size', 0);
    const bits = (8 * weights.byteLengthOf(integers)) / count;
    return { shape: [dims[0]!, count / dims[0]!], bits, groupSize: blockSize > 0 ? blockSize : null, bytes };
  }

  /** Every layer of the original with what the quantized network has in its place, and all other tensors. */
  private async compare(original: OpenModel): Promise<void> {
    const { layers } = findLayers(original.graph);
    const packed = new Map(this.packed.map((own) => [own.codes.name.replace(/_Q[248](_\d+)?$/, ''), own]));
    const paths = new Map([...scopesOf(original.graph)].map(([path, scope]) => [scope, path]));
    const claimed = new Set<TensorProto>();
    const seen = new Set<string>();
    for (const layer of layers) {
      const { constant, scope, order, node, weightIndex } = layer;
      for (const tensor of constantsOf(scope, node.input[weightIndex]!)) claimed.add(tensor);
      const path = paths.get(scope)!;
      const key = `${path} ${weightName(layer)} ${order} ${constant.order.join()}`;
      if (seen.has(key)) continue;
      seen.add(key);
      await this.layer(layer, original, packed.get(weightName(layer)), this.scopes.get(path));
    }
    for (const [scope, path] of paths)
      for (const [name, tensor] of storedTensors(scope))
        if (!claimed.has(tensor)) await this.tensor(name, tensor, scope, this.scopes.get(path), original);
  }

  private async layer(
    layer: Layer,
    original: OpenModel,
    packed: PackedNode | undefined,
    scope: Scope | undefined,
  ): Promise<void> {
    const { signal } = this.options;
    const { outFeatures, inFeatures, weightIndex, name } = layer;
    const before = () => weightOf(layer, original.weights, signal);
    if (packed) {
      const shape = [outFeatures, inFeatures] as const;
      const whole = packed.shape[1];
      const values = async () =>
        cut(await unpackedValues(packed, this.opened.weights, signal), whole, inFeatures);
      if (packed.shape[0] !== outFeatures || whole < inFeatures)
        return void this.faults.push(`layer ${describe(name)} is [${packed.shape.join(', ')}], and [${shape.join(', ')}] in the original`); // prettier-ignore
      return this.weight(name, { ...this.toldOf(packed), shape }, values, before);
    }
    const node = scope?.producerOf(layer.node.output.find((output) => output !== '')!);
    const value = node?.opType === layer.kind ? node.input[weightIndex] : undefined;
    if (!scope || value === undefined)
      return void this.notCompared.push(
        `layer ${describe(name)}: nothing in the output is known to stand in its place`,
      );
    const { tensor } = layer.constant;
    const same = storedIn(scope, value);
    // One that is computed from others has no bytes of its own.
    const isStored = !layer.constant.sources;
    if (same && isStored && (await this.isIdentical(tensor, same, original))) return;
    const own = this.rootOf(scope, value);
    const told = own
      ? this.toldOf(own)
      : { shape: [outFeatures, inFeatures] as const, bits: null, groupSize: null, bytes: same ? this.opened.weights.byteLengthOf(same) : 0 }; // prettier-ignore
    const groupSize = own ? (told.groupSize ?? inFeatures) : null;
    await this.weight(
      name,
      { ...told, shape: [outFeatures, inFeatures], groupSize },
      () => this.valueOf(scope, value),
      async () => asNodeSees(layer, await before(), signal),
    );
  }

  /** The integers that a value is made of, through whatever changes its form. */
  private rootOf(from: Scope, value: string): Dequantizing | undefined {
    let scope = from.scopeOf(value);
    let node = scope?.producerOf(value);
    while (node && !this.dequantizing.has(node)) {
      const [input = ''] = node.input;
      scope = scope!.scopeOf(input);
      node = scope?.producerOf(input);
    }
    return node && this.dequantizing.get(node);
  }

  /** A value that is made of constants alone, as onnxruntime makes it. */
  private async valueOf(scope: Scope, name: string): Promise<FloatArray> {
    const tensor = storedIn(scope, name);
    if (tensor) return this.opened.weights.floats(tensor, this.options.signal);
    const { nodes, constants } = madeOf(scope, name);
    const asked = { nodes, constants, inputs: [], outputs: [name], substitutes: new Map<never, never>() };
    const session = await loadStage({ ...this.opened, ...asked }, `the value ${describe(name)}`);
    try {
      const made = await session.run({}, [name]);
      return made[name]!.data as FloatArray;
    } finally {
      await session.release();
    }
  }

  /** Reads a weight, next to the original where there is one. */
  private async weight(
    name: string,
    told: Omit<VerifiedWeight, 'name' | 'error'>,
    values: () => Promise<FloatArray>,
    before: (() => Promise<FloatArray>) | null,
  ): Promise<void> {
    this.options.signal?.throwIfAborted();
    let own: FloatArray;
    try {
      own = await values();
    } catch (error) {
      this.options.signal?.throwIfAborted();
      const { code } = error as VertexqError;
      if (!(error instanceof RangeError) && code !== 'ERR_VERTEXQ_RUNTIME' && code !== 'ERR_VERTEXQ_ONNX')
        throw error;
      this.faults.push(`layer ${describe(name)} cannot be read back: ${(error as Error).message}`);
      this.weights.push({ name, ...told, error: null });
      return;
    }
    const reference = before && (await before());
    const sums = { error: 0, signal: 0 };
    const add = (begin: number, end: number) => {
      for (let i = begin; i < end; i++) {
        const [q, w] = [own[i]!, reference ? reference[i]! : own[i]!];
        sums.error += (q - w) ** 2;
        sums.signal += w * w;
      }
    };
    await inParts(own.length, add, this.options.signal);
    const isOdd = (value: number) => !Number.isFinite(value);
    const at = await indexWhere<number>(own, isOdd, this.options.signal);
    if (at >= 0) this.faults.push(`layer ${describe(name)} has a weight that is ${own[at]}`);
    const error = reference && at < 0 ? relativeError(sums) : null;
    if (reference && own.length !== reference.length) this.faults.push(`layer ${describe(name)} has ${own.length} weights, and ${reference.length} in the original`); // prettier-ignore
    else if (error !== null && !(error < 1)) this.faults.push(`layer ${describe(name)} is farther from the original than zeros would be`); // prettier-ignore
    this.weights.push({ name, ...told, error });
    this.progress(told.bytes, name);
  }

  /** A tensor that is no layer's weight: the original's own, or used no more. */
  private async tensor(
    name: string,
    before: TensorProto,
    from: Scope,
    scope: Scope | undefined,
    original: OpenModel,
  ): Promise<void> {
    const own = scope && storedIn(scope, name);
    if (own && (await this.isIdentical(before, own, original))) return;
    if (own) this.faults.push(`tensor ${describe(name)} differs from the original`);
    else if (from.usesOf(name) > 0) this.faults.push(`tensor ${describe(name)} is in the original alone`);
  }

  private async isIdentical(before: TensorProto, own: TensorProto, original: OpenModel): Promise<boolean> {
    if (before.dataType !== own.dataType || dimsOf(before).join() !== dimsOf(own).join()) return false;
    const bytes = await this.opened.weights.raw(own);
    const others = await original.weights.raw(before);
    if (bytes.length !== others.length) return false;
    const turns = new Turns(this.options.signal);
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      if (turns.due) await turns.next();
      const [a, b] = [bytes, others].map((list) => list.subarray(at, at + pieceBytes)) as [Uint8Array, Uint8Array]; // prettier-ignore
      if (Buffer.compare(a, b) !== 0) return false;
    }
    this.identical.tensors++;
    this.identical.bytes += bytes.length;
    this.progress(bytes.length, own.name);
    return true;
  }

  private progress(bytes: number, layer: string): void {
    this.done = Math.min(this.opened.used, this.done + bytes);
    this.options.onProgress?.({ stage: 'verify', done: this.done, total: this.opened.used, unit: 'bytes', layer }); // prettier-ignore
  }
}

const nameOf = (node: NodeProto): string => node.name || node.output[0]!;

/** Bytes that are compared without a pause. */
const pieceBytes = 2 ** 22;

/** The first columns of rows. */
function cut(values: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return values;
  const rows = values.length / from;
  const kept = new Float32Array(rows * to);
  for (let row = 0; row < rows; row++) kept.set(values.subarray(row * from, row * from + to), row * to);
  return kept;
}
