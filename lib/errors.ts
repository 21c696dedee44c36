import type { VertexqErrorCode } from './error-codes';

/**
 * Everything that goes wrong other than a wrong argument, which is a TypeError or a RangeError.
 *
 * `code` is stable and begins with `ERR_VERTEXQ_` (docs/errors.md); the message names the file, tensor, layer or option, what was expected and
 * what came.
 */
export class VertexqError extends Error {
  readonly code: VertexqErrorCode;

  constructor(code: VertexqErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VertexqError';
    this.code = code;
  }
}

/** `error` with `where: ` before its message: a layer or a file is known only further up than where things go wrong. */
export function located(where: string, error: unknown): unknown {
  // Who knows the place may stand inside of another who does.
  if (error instanceof VertexqError && error.message.startsWith(`${where}: `)) return error;
  if (error instanceof VertexqError)
    return new VertexqError(error.code, `${where}: ${error.message}`, { cause: error.cause });
  if (isOutOfRoom(error))
    return new VertexqError('ERR_VERTEXQ_MEMORY', `${where}: ${noMemory}`, { cause: error });
  return error;
}

export const noMemory = 'the system had no memory left for the work';

/** Errors of memory from where it is not known what the work is for. */
const unnamed = new WeakSet<VertexqError>();

/** ERR_VERTEXQ_MEMORY of work that does not know what it is for: `namingMemory` is how its callers say that. */
export function outOfMemory(message: string, cause?: unknown): VertexqError {
  const error = new VertexqError('ERR_VERTEXQ_MEMORY', message, { cause });
  unnamed.add(error);
  return error;
}

/** What `work` gives. Where there was no memory for it, and nobody has said for what, it was `where`: a tensor, or of a whole run its input. */
export async function namingMemory<Result>(where: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isOutOfRoom(error) || unnamed.has(error as VertexqError) ? located(where, error) : error;
  }
}

/** What V8 throws where there is no room for an array: a RangeError, as if an argument were wrong. */
const isOutOfRoom = (error: unknown) =>
  error instanceof RangeError && error.message === 'Array buffer allocation failed';

/** The same of an error that tells of memory alone: any work may be the one that gets none, and what it was about says how much it took. */
export function locatedMemory(where: string, error: unknown): unknown {
  const isOther = error instanceof VertexqError && error.code !== 'ERR_VERTEXQ_MEMORY';
  return isOther ? error : located(where, error);
}
