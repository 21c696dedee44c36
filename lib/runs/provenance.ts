import { createHash } from 'node:crypto';
import { type Kernels, kernels } from '../environment';
import { version } from '../version';

/** Where an output comes from: what decides its bytes, and nothing else, so that the same again gives the same bytes. */
export interface Provenance {
  /** The version of vertexq. */
  vertexq: string;
  /** Those that were given and decide what becomes of weights; of data there are hashes. Very long `overrides` are told by their SHA-256. */
  options: Record<string, unknown>;
  /** SHA-256 of the input's sizes and samples of its bytes (docs/report.md). */
  input: string;
  /** SHA-256 of what was fitted to; null where nothing was. */
  data: DataHashes | null;
  /** With which fits were computed; null where nothing was fitted. */
  kernels: Kernels | null;
  /** The version that ran the network; null where none was run. */
  onnxruntime: string | null;
}

/** Of samples, of recorded inputs of layers (`activations`), of an importance matrix. */
export interface DataHashes {
  calibration?: string;
  holdout?: string | null;
  activations?: string;
  imatrix?: string;
}

/** What the key is called: in the metadata of ONNX and safetensors files, in those of GGUF files. */
export const provenanceKey = 'vertexq.provenance';

/** Options that decide what becomes of weights, in the order in which they are told. */
const deciding = [
  ...[
    'format',
    'preset',
    'time',
    'method',
    'bits',
    'levels',
    'grid',
    'groupSize',
    'scale',
    'rank',
    'effort',
    'damping',
    'box',
  ],
  ...[
    'errorCorrection',
    'weighting',
    'tuning',
    'parts',
    'ownSamples',
    'operators',
    'layers',
    'skip',
    'allowQuantized',
  ],
  'overrides',
];
/** What is the same as not given. */
const defaults: Record<string, unknown> = { weighting: 'none', tuning: 'none', effort: 'auto' };
/** Characters of `overrides` that are told. */
const mostCharacters = 2 ** 14;

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex');

/** Options whose lists are the run's own: the caller may change his while it runs. */
export function ownOptions<Options extends object>(given: Options): Options {
  const own = { ...given } as Record<string, unknown>;
  for (const name of deciding) if (typeof own[name] === 'object') own[name] = structuredClone(own[name]);
  return own as Options;
}

/** `runtime`: the version of onnxruntime, where it ran the network; `fittedWith`: the kernels of fits. */
export function provenanceOf(
  options: object,
  format: string,
  input: string,
  data: DataHashes | null,
  runtime: string | null,
  fittedWith?: Kernels,
): Provenance {
  const given: Record<string, unknown> = { ...options, format };
  const told = deciding.flatMap((name): [string, unknown][] => {
    const value = given[name];
    const isNothing = Array.isArray(value) && value.length === 0;
    if (value === undefined || value === defaults[name] || isNothing) return [];
    const text = JSON.stringify(value);
    return [[name, text.length > mostCharacters ? { sha256: hashOf(text) } : (JSON.parse(text) as unknown)]];
  });
  return {
    ...{ vertexq: version, options: Object.fromEntries(told), input, data },
    ...{ kernels: data && (fittedWith ?? kernels()), onnxruntime: runtime },
  };
}

const anyHash = '0'.repeat(64);

/** One as long as that of a run on such options, for sizes that are told ahead. `runtime`: of onnxruntime, where it is fitted to data. */
export const plannedProvenance = (options: object, format: string, runtime: string | null): Provenance =>
  provenanceOf(
    options,
    format,
    anyHash,
    runtime === null ? null : { calibration: anyHash, holdout: anyHash },
    runtime,
  );

/** As it stands in files. */
export const provenanceText = (provenance: Provenance): string => JSON.stringify(provenance);

/** What a file says of itself; null where it says nothing, or nothing that this version reads. */
export function readProvenance(text: string | undefined): Provenance | null {
  if (text === undefined) return null;
  try {
    const told = JSON.parse(text) as Provenance | null;
    const isTold =
      typeof told === 'object' &&
      told !== null &&
      typeof told.vertexq === 'string' &&
      typeof told.input === 'string' &&
      typeof told.options === 'object' &&
      told.options !== null &&
      !Array.isArray(told.options) &&
      ['data', 'kernels'].every(
        (name) => typeof (told as unknown as Record<string, unknown>)[name] === 'object',
      );
    return isTold ? told : null;
  } catch {
    return null;
  }
}
