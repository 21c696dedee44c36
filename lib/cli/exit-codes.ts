import { errorCodes, exitCodes } from '../error-codes';
import { VertexqError } from '../errors';

export { exitCodes };

/** What the system says where there is no room on a disk. */
const full: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** The code for an error that nobody asked for. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof TypeError || error instanceof RangeError) return exitCodes.usage;
  if (!(error instanceof VertexqError)) return exitCodes.failed;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (full.has((cause as NodeJS.ErrnoException).code)) return exitCodes.resources;
  return exitCodes[errorCodes[error.code].exit];
}
