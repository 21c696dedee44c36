import { availableProcessors } from '../processors';
import type * as Ort from 'onnxruntime-node';
import { VertexqError } from '../errors';
import { optionalPackage } from '../optional-package';
import type { TensorLike } from '../types';
import type { Feeds } from './types';

type Runtime = typeof Ort;

/**
 * onnxruntime-node, loaded on first need: from beside vertexq, or where VERTEXQ_MODULES says. Throws ERR_VERTEXQ_RUNTIME with
 * what to install.
 */
export function runtime(): Runtime {
  try {
    return optionalPackage(
      'onnxruntime-node',
      'ERR_VERTEXQ_RUNTIME',
      'Running the network on calibration data',
    ) as Runtime;
  } catch (error) {
    if (!(error instanceof VertexqError) || !error.message.includes('npm install')) throw error;
    throw new VertexqError(error.code, `${error.message}. ${whereNoNuget}`, { cause: error.cause });
  }
}

/** Its install script fetches libraries for GPUs from nuget.org, and fails after minutes where it cannot. */
const whereNoNuget =
  'If its installation fails or hangs, nuget.org cannot be reached: set ONNXRUNTIME_NODE_INSTALL=skip in the environment; only libraries for GPUs are left out then.';

/** How to install it. */
export const runtimeRemedy = `npm install onnxruntime-node. ${whereNoNuget}`;

/** The version of onnxruntime-node. */
export function runtimeVersion(): string {
  return runtime().env.versions.common;
}

/**
 * The runtime splits products by its number of threads, and their last bits follow: so that number is the machine's, not the
 * caller's `threads`, on which results must not depend.
 */
const runtimeThreads = Math.min(availableProcessors(), 8);

/** What a network is run with, where it is not to be what every traversal uses. */
export interface SessionOptions {
  threads?: number | undefined;
  /** How exactly a product with a DequantizeLinear's output is computed. Default: what the runtime does by itself. */
  accuracyLevel?: number | undefined;
  /** Whether weights behind a DequantizeLinear become floats once, when the network is loaded, instead of at each run. */
  foldWeights?: boolean | undefined;
}

/**
 * A network loaded from memory, or from its file, beside which the runtime then finds external data. `what` names it in messages.
 * Throws ERR_VERTEXQ_RUNTIME where it does not load.
 */
export async function loadSession(
  network: Uint8Array | string,
  what: string,
  { threads = runtimeThreads, accuracyLevel, foldWeights }: SessionOptions = {},
): Promise<Ort.InferenceSession> {
  const options: Ort.InferenceSession.SessionOptions = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    // An arena keeps the largest batch's memory for good.
    enableCpuMemArena: false,
    extra: {
      // It takes a Range away whose values are wanted besides, and the process dies (onnxruntime 1.30).
      optimization: { disable_specified_optimizers: 'GatherToSliceFusion' },
      session: {
        // Between two runs the cores are for the fit, or for another network.
        intra_op: { allow_spinning: '0' },
        ...(accuracyLevel === undefined ? {} : { qdq_matmulnbits_accuracy_level: String(accuracyLevel) }),
        ...(foldWeights ? { disable_quant_qdq: '1' } : {}),
      },
    },
  };
  try {
    const { InferenceSession } = runtime();
    // Not one call: each type has a signature of its own.
    return typeof network === 'string'
      ? await InferenceSession.create(network, options)
      : await InferenceSession.create(network, options);
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    throw new VertexqError(
      'ERR_VERTEXQ_RUNTIME',
      `onnxruntime-node cannot load ${what}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Runs a network on one feed. Rejects with ERR_VERTEXQ_RUNTIME; ERR_VERTEXQ_MEMORY where the runtime gets none. */
export async function runSession(
  session: Ort.InferenceSession,
  feeds: Feeds,
  outputs: string[],
  what: string,
): Promise<Record<string, Ort.Tensor>> {
  const tensors = Object.fromEntries(session.inputNames.map((name) => [name, tensorOf(name, feeds[name])]));
  try {
    return await session.run(tensors, outputs);
  } catch (cause) {
    const { message } = cause as Error;
    if (/bad.alloc|failed to allocate/i.test(message))
      throw new VertexqError(
        'ERR_VERTEXQ_MEMORY',
        `there is no memory for running ${what} on so much at once: give smaller samples, or fewer together ("batchSize")`,
        { cause },
      );
    throw new VertexqError('ERR_VERTEXQ_RUNTIME', `onnxruntime-node cannot run ${what}: ${message}`, {
      cause,
    });
  }
}

function tensorOf(name: string, tensor: TensorLike | undefined): Ort.Tensor {
  if (!tensor)
    throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data has no input "${name}"`);
  const { Tensor } = runtime();
  if (tensor instanceof Tensor) return tensor;
  try {
    return tensor.type === undefined
      ? new Tensor(tensor.data as Float32Array, tensor.dims)
      : new Tensor(tensor.type as 'float32', tensor.data as Float32Array, tensor.dims);
  } catch (cause) {
    throw cannotFeed(name, cause);
  }
}

/** Of data that was sound when it was checked. */
export const cannotFeed = (name: string, cause: unknown) =>
  new VertexqError(
    'ERR_VERTEXQ_CALIBRATION',
    `the calibration data of the input "${name}" cannot be fed: ${(cause as Error).message.replace(/\.?$/, '.')} Was its ArrayBuffer transferred meanwhile?`,
    { cause },
  );
