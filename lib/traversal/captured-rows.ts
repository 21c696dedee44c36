import { VertexqError } from '../errors';
import { LayerRows, namingHoldout } from '../fit/layer-rows';
import type { RowsKind } from '../native/binding';
import { convert } from '../native/tensors';
import { isFloat32Array } from '../realms';
import type { FloatArray, JobOptions, TensorLike } from '../types';
import type { Parts } from './parts';
import { PartSums } from './part-sums';
import { type ConvGeometry, type FitLayer, placesIn, type RowsOf } from './layer';

/** What is kept of the rows of a layer. */
export interface CaptureKinds {
  kindOf: (layer: FitLayer) => RowsKind;
  /** Of held-out rows, besides; null for nothing. */
  reportKindOf?: (layer: FitLayer) => RowsKind | null;
  isWeighted?: (layer: FitLayer) => boolean;
  /** Whether the value is what the float network gives. */
  areFloat?: boolean;
}

/** What the layers that read a value in one way see of it. */
export interface CapturedRows {
  calibration: LayerRows;
  holdout: LayerRows | null;
  /** The held-out rows for the report, where the fit keeps them otherwise. */
  reported: LayerRows | null;
  areFloat: boolean;
  /** Why nothing is told against what the float network gives, where that was wanted. */
  unpaired: string | null;
}

/**
 * How many patches of all the data do: 64 for each input, and more where these cost little. A sound network on three clips of 9 s had
 * outputs with an error of .0359 on another clip with all patches as with these, and of .0360 with 16 for each input.
 */
export function enoughPatches(inFeatures: number): number {
  return Math.max(64 * inFeatures, Math.ceil(2 ** 28 / inFeatures ** 2));
}

/** Gives the weights of a layer's rows in a batch; null where they all count alike. */
export type WeightsOfRows = (layer: FitLayer) => Promise<Float32Array | null>;

/** Collects what layers see of one value, once for those that see the same: with weights each layer for itself. */
export class RowCapture {
  private readonly captured = new Map<
    string,
    { layer: FitLayer; calibration: PartSums; holdout: PartSums | null }
  >();
  private readonly reported = new Map<string, { layer: FitLayer; holdout: PartSums }>();
  private readonly weighted: ReadonlyMap<FitLayer, number>;
  private unpaired: string | null = null;

  constructor(
    private readonly value: string,
    layers: readonly FitLayer[],
    private readonly kinds: CaptureKinds,
    withHoldout: boolean,
    options: JobOptions,
    parts: Parts | null = null,
    /** What other workers know this by. */
    called = value,
  ) {
    const sums = (layer: FitLayer, kind: RowsKind, name: string) =>
      new PartSums(
        () => LayerRows.of(layer.inFeatures, kind, options, layer.groups),
        parts,
        `${called} ${name}`,
        options.signal,
      );
    this.weighted = placesIn(layers.filter((layer) => kinds.isWeighted?.(layer) ?? false));
    for (const layer of layers) {
      const reported = kinds.reportKindOf?.(layer) ?? null;
      const told = reported && keyOf(layer, reported);
      if (withHoldout && reported && !this.reported.has(told!))
        this.reported.set(told!, { layer, holdout: sums(layer, reported, `${told} reported`) });
      const [key, kind] = [this.keyOf(layer), kinds.kindOf(layer)];
      if (this.captured.has(key)) continue;
      const holdout = withHoldout ? sums(layer, kind, `${key} holdout`) : null;
      this.captured.set(key, { layer, calibration: sums(layer, kind, key), holdout });
    }
  }

  private keyOf(layer: FitLayer): string {
    return `${this.weighted.get(layer) ?? ''} ${keyOf(layer, this.kinds.kindOf(layer))}`;
  }

  /**
   * Adds a batch: what the quantized network gives and, for pairs, what the float network gives there. `share`: its part of all data of
   * its kind; `part`: that of the run. Where a fit needs both and their rows cannot be paired, rejects with ERR_VERTEXQ_UNSUPPORTED; where the report alone does, it
   * goes without.
   */
  async add(
    seen: TensorLike,
    float: TensorLike | undefined,
    to: 'calibration' | 'holdout',
    share: number,
    signal: AbortSignal | undefined,
    weightsOf: WeightsOfRows = () => Promise.resolve(null),
    part = 0,
  ): Promise<void> {
    if (float) this.pair(seen, float);
    const values = await floatsOf(seen, this.value, signal);
    const targets = float && !this.unpaired ? await floatsOf(float, this.value, signal) : undefined;
    const addTo = async (sums: PartSums, layer: FitLayer, weights: Float32Array | null) => {
      const into = await sums.of(part);
      const most = Math.max(1, Math.ceil(share * enoughPatches(layer.inFeatures)));
      const paired = into.kind === 'pairs' ? targets : undefined;
      const batch = { values, targets: paired, weights: weights ?? undefined, dims: seen.dims, most };
      const adding = addRows(into, layer, batch, this.value, signal);
      await (to === 'holdout' ? namingHoldout(adding) : adding);
    };
    for (const { layer, ...captured } of this.captured.values())
      await addTo(captured[to]!, layer, this.weighted.has(layer) ? await weightsOf(layer) : null);
    if (to === 'holdout')
      for (const { layer, holdout } of this.reported.values())
        if (holdout.total.kind !== 'pairs' || targets) await addTo(holdout, layer, null);
  }

  /** Puts together what all parts have seen. Returns false where `isNeedless` was true before all was there. */
  async collect(isNeedless: () => Promise<boolean>): Promise<boolean> {
    const own = [...this.captured.values()].flatMap(({ calibration, holdout }) => [calibration, holdout]);
    const reported = [...this.reported.values()].map(({ holdout }) => holdout);
    for (const sums of [...own, ...reported]) if (sums && !(await sums.collect(isNeedless))) return false;
    return true;
  }

  /** How many rows of the calibration data a layer sees. */
  countOf(layer: FitLayer): number {
    return this.captured.get(this.keyOf(layer))!.calibration.total.samples;
  }

  /** Throws ERR_VERTEXQ_CALIBRATION where no rows came. */
  rowsOf(layer: FitLayer): CapturedRows | null {
    const own = this.captured.get(this.keyOf(layer))!;
    const calibration = own.calibration.total;
    const holdout = own.holdout?.total ?? null;
    if (calibration.samples === 0)
      throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data gives "${this.value}" no rows`);
    const kind = this.kinds.reportKindOf?.(layer) ?? null;
    const reported = kind && this.reported.get(keyOf(layer, kind))?.holdout.total;
    const isHeldOut = holdout !== null && holdout.samples > 0;
    const isUnpaired = kind === 'pairs' && this.unpaired !== null;
    return {
      calibration,
      holdout: isHeldOut ? holdout : null,
      reported: reported && isHeldOut && !isUnpaired ? reported : null,
      areFloat: this.kinds.areFloat ?? false,
      unpaired: isUnpaired ? this.unpaired : null,
    };
  }

  /** Where a network picks rows by their values, those of the float network may be others. */
  private pair(seen: TensorLike, float: TensorLike): void {
    if (float.type === seen.type && float.dims.join() === seen.dims.join()) return;
    const why =
      `the value "${this.value}" is ${seen.type}[${seen.dims.join(', ')}] in the quantized network and ${float.type}[${float.dims.join(', ')}] in the float one: ` +
      'their rows cannot be paired';
    if ([...this.captured.values()].some(({ calibration }) => calibration.total.kind === 'pairs'))
      throw new VertexqError('ERR_VERTEXQ_UNSUPPORTED', `${why}. Turn "errorCorrection" off`);
    this.unpaired ??= why;
  }
}

const keyOf = ({ input, inFeatures, groups }: FitLayer, kind: RowsKind) =>
  JSON.stringify([input!.rows, inFeatures, groups, kind]);

async function floatsOf(
  { data, type }: TensorLike,
  value: string,
  signal: AbortSignal | undefined,
): Promise<FloatArray> {
  if (type === 'float32') return data as Float32Array;
  if (type === 'float64') return data as Float64Array;
  // A Float16Array where the runtime and Node have one: the same bytes.
  if (type === 'float16') return (await convert(data as Uint16Array, 'F16', 'F32', signal)).data;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `the value "${value}" is ${type}, not of floating-point numbers`,
  );
}

interface Batch {
  values: FloatArray;
  targets: FloatArray | undefined;
  weights: Float32Array | undefined;
  dims: readonly number[];
  /** Patches that do. */
  most: number;
}

async function addRows(
  to: LayerRows,
  { input, inFeatures, groups }: FitLayer,
  { values, targets, weights, dims, most }: Batch,
  value: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (dims.length === 0)
    throw new VertexqError('ERR_VERTEXQ_ONNX', `the value "${value}" is a single number, and no matrix`);
  const { rows } = input!;
  if (rows.kind === 'axis') requireWidth(rows, dims, inFeatures * groups, value);
  if (values.length === 0) return;
  const axis = rows.kind === 'axis' ? axisOf(rows, dims.length) : null;
  if (rows.kind === 'axis') requireWeights(weights, values.length / (inFeatures * groups), value);
  if (axis === dims.length - 1 && groups === 1) return to.add(values, targets, signal, weights);
  const geometry = rows.kind === 'patches' ? resolved(rows.geometry, dims) : pointwise;
  await to.addPatches(
    {
      values: await single(values, signal),
      ...(targets ? { targets: await single(targets, signal) } : {}),
      ...(weights ? { weights } : {}),
      // A line along an axis is a patch of one position, with all before the axis for batch and all behind it for space.
      shape: axis === null ? dims : [count(dims.slice(0, axis)), dims[axis]!, count(dims.slice(axis + 1))],
      ...geometry,
      most,
    },
    signal,
  );
}

const pointwise = { kernel: [1], strides: [], dilations: [], pads: [] };

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

const single = async (values: FloatArray, signal: AbortSignal | undefined) =>
  isFloat32Array(values) ? values : (await convert(values, 'F64', 'F32', signal)).data;

/** Where a network picks rows by their values, the quantized one may pick others than the float one, which the weights are of. */
function requireWeights(weights: Float32Array | undefined, rows: number, value: string): void {
  if (!weights || weights.length === rows) return;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `the value "${value}" has ${rows} rows in the quantized network, and the float one gives weights of ${weights.length}: turn "weighting" off ("none")`,
  );
}

/** The axis as an index. A vector is one row, whichever side the weight is on. */
function axisOf({ axis }: RowsOf & { kind: 'axis' }, rank: number): number {
  if (rank === 1) return 0;
  return axis < 0 ? rank + axis : axis;
}

function requireWidth(
  rows: RowsOf & { kind: 'axis' },
  dims: readonly number[],
  wanted: number,
  value: string,
): void {
  const width = dims[axisOf(rows, dims.length)];
  if (width !== wanted)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the value "${value}" has ${width ?? 'no'} features, and the weight ${wanted} inputs`,
    );
}

/** A convolution's attributes with the padding that `auto_pad` asks for (ONNX, Conv). */
function resolved({ kernel, strides, dilations, pads, autoPad }: ConvGeometry, dims: readonly number[]) {
  if (autoPad === 'NOTSET') return { kernel, strides, dilations, pads };
  if (autoPad === 'VALID') return { kernel, strides, dilations, pads: [] };
  const totals = kernel.map((size, i) => {
    const stride = strides[i] ?? 1;
    const length = dims[i + 2] ?? 0;
    const reach = (size - 1) * (dilations[i] ?? 1) + 1;
    return Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach - length);
  });
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  return {
    kernel,
    strides,
    dilations,
    pads: autoPad === 'SAME_UPPER' ? [...less, ...more] : [...more, ...less],
  };
}
