import { VertexqError } from '../errors';
import { type AddonSearch, addonRemedy, findAddon } from './addon-file';
import type {
  RowsKind,
  NativeBlocks,
  NativeLayerRows,
  NativeClassRows,
  NativeCoded,
  NativeCodes,
  NativeConversion,
  NativeHeadPanel,
  NativeIntegers,
  NativeJob,
  NativeLayer,
  NativeMany,
  NativeMethod,
  NativeOutputRows,
  NativePermutation,
  NativePreprocessed,
  NativeQuantized,
  NativeRounded,
  NativeRows,
  NativeUneven,
  NativeUnpacked,
  NativeWay,
  Norms,
  RowSums,
} from './addon-types';
import type { NativeGgmlBlocks, NativeGgmlCodes, NativeGgmlType, NativeGgmlWeights } from './ggml-types';

export type * from './addon-types';
export type * from './ggml-types';

/** A function of the addon that starts a job, or works at once. */
type Way<Given, Result> = (given: Given) => NativeJob<Result> | Result;

/** The addon's exports (native/addon/addon.cpp). It checks types and lengths; what options mean is checked before it. */
export interface Binding {
  /** `threads`, on which it sums and looks at a Gram matrix: 1 by default. */
  LayerRows: new (inFeatures: number, kind: RowsKind, groups?: number, threads?: number) => NativeLayerRows;
  preprocess(layer: NativeLayer): NativeJob<NativePreprocessed>;
  quantize(layer: NativeLayer & NativeMethod): NativeJob<NativeQuantized>;
  /** What lib/method-table.ts is written from. */
  methods: unknown;
  roundRows(rows: NativeRows): NativeJob<NativeRounded>;
  /** The same of many weights: three numbers of each. */
  roundMany(weights: NativeMany): NativeJob<Float64Array>;
  packRows(rows: NativeCoded): NativeJob<void>;
  /** Sums of squares: of what differs from the reference, and of that; without one 0, and of the values. */
  unpackRows(rows: NativeUnpacked): NativeJob<Norms>;
  addNextTokens(panel: NativeHeadPanel): NativeJob<void>;
  drawOutputs(rows: NativeOutputRows): NativeJob<void>;
  drawClasses(rows: NativeClassRows): NativeJob<void>;
  /** Whether all results are finite. */
  convert: Way<NativeConversion, boolean>;
  /** How many pieces the work falls into. */
  permute: Way<NativePermutation, number>;
  dequantize: Way<NativeCodes & NativeUneven & NativeWay & { output: Float32Array }, void>;
  packBlocks: Way<NativeBlocks, void>;
  packIntegers: Way<NativeIntegers, void>;
  ggmlTypes: readonly NativeGgmlType[];
  packGgml(codes: NativeGgmlCodes): NativeJob<void>;
  /** Sums of squares: of what rounding changed, and of the weights. */
  roundGgml(weights: NativeGgmlWeights): NativeJob<RowSums>;
  /** As unpackRows. */
  unpackGgml(blocks: NativeGgmlBlocks): NativeJob<RowSums>;
  checksum(bytes: { input: Uint8Array }): NativeJob<string>;
  /** Gives the system what malloc keeps of freed memory. */
  giveBackMemory(): NativeJob<void>;
  /** Whether this open file is now locked for us, until it is closed or the process ends. */
  lockFile(descriptor: number): boolean | null;
  /** `simd`: the instruction set of our own kernels. */
  blasInfo(): { config: string; core: string; simd: string; maxThreads: number };
}

let loaded: Binding | undefined;
let loadedFrom: string | undefined;

/** The file of the addon, where it has been loaded. */
export const addonFile = (): string | undefined => loadedFrom;

/** The addon, loaded on first need. Throws ERR_VERTEXQ_ADDON where there is none or it cannot be loaded. */
export function binding(): Binding {
  return (loaded ??= load());
}

function load(): Binding {
  const search = findAddon();
  // OpenBLAS starts threads when it is loaded, and where the system gives none it ends the process. They are not used (linalg/blas.h).
  const threads = process.env.OPENBLAS_NUM_THREADS;
  process.env.OPENBLAS_NUM_THREADS = '1';
  const failures: Error[] = [];
  try {
    for (const { path } of search.places) {
      try {
        const binding = require(path) as Binding;
        loadedFrom = path;
        return binding;
      } catch (cause) {
        failures.push(cause as Error);
      }
    }
  } finally {
    if (threads === undefined) delete process.env.OPENBLAS_NUM_THREADS;
    else process.env.OPENBLAS_NUM_THREADS = threads;
  }
  throw new VertexqError('ERR_VERTEXQ_ADDON', `${problemOf(search, failures)}. ${addonRemedy(search)}`, {
    cause: failures[0],
  });
}

function problemOf({ places, packageName, build, passedOver }: AddonSearch, failures: Error[]): string {
  if (places.length > 0)
    return places
      .map(({ path }, i) => `The native addon ${path} could not be loaded (${failures[i]?.message})`)
      .join('. ');
  const instead = passedOver === null ? '' : ` (${passedOver})`;
  return `The native addon was not found: neither in the package ${packageName}${instead} nor at ${build}`;
}
