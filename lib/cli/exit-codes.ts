import { VertexqError } from '../errors';

/** What the program ends with, by cause. They are stable. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Input that is damaged, or not understood. */
  input: 3,
  /** Something is where the output goes, or another run is at it. */
  output: 4,
  /** There is nothing to quantize. */
  nothing: 5,
  /** Out of memory, disk or time. */
  resources: 6,
  /** By Ctrl-C: 128 and the number of its signal. */
  interrupted: 130,
} as const;

/** Codes of errors that are more than a failure. */
const byCode: Readonly<Record<string, number>> = {
  ERR_VERTEXQ_CALIBRATION: exitCodes.input,
  ERR_VERTEXQ_CONFIG: exitCodes.input,
  ERR_VERTEXQ_DECODER: exitCodes.input,
  ERR_VERTEXQ_GGUF: exitCodes.input,
  ERR_VERTEXQ_GRAM: exitCodes.input,
  ERR_VERTEXQ_IMAGE: exitCodes.input,
  ERR_VERTEXQ_NOT_FINITE: exitCodes.input,
  ERR_VERTEXQ_NPY: exitCodes.input,
  ERR_VERTEXQ_NPZ: exitCodes.input,
  ERR_VERTEXQ_ONNX: exitCodes.input,
  ERR_VERTEXQ_SAFETENSORS: exitCodes.input,
  ERR_VERTEXQ_SENSITIVITY: exitCodes.input,
  ERR_VERTEXQ_TOKENIZER: exitCodes.input,
  ERR_VERTEXQ_UNSUPPORTED: exitCodes.input,
  ERR_VERTEXQ_EXISTS: exitCodes.output,
  ERR_VERTEXQ_LOCKED: exitCodes.output,
  ERR_VERTEXQ_RESUME: exitCodes.output,
  ERR_VERTEXQ_NO_LAYERS: exitCodes.nothing,
  ERR_VERTEXQ_MEMORY: exitCodes.resources,
  ERR_VERTEXQ_TIME: exitCodes.resources,
};

/** What the system says where there is no room on a disk. */
const full: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** The code for an error that nobody asked for. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof TypeError || error instanceof RangeError) return exitCodes.usage;
  if (!(error instanceof VertexqError)) return exitCodes.failed;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (full.has((cause as NodeJS.ErrnoException).code)) return exitCodes.resources;
  return byCode[error.code] ?? exitCodes.failed;
}
