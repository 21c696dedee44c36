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
  return error;
}
