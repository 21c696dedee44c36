import { errorCodes, exitCodes, isErrorCode } from '../error-codes';
import { Refusal } from './roots';

/** What becomes of a job whose work has ended with an error. */
export type Fate =
  /** Others do it; after `pause` milliseconds. It counts as no attempt. */
  | { kind: 'refused' | 'busy' | 'returned'; pause: number; message: string }
  /** It is tried again, as often as its run allows. */
  | { kind: 'failed'; message: string; code: string | undefined }
  /** Nobody can do it. */
  | { kind: 'hopeless'; message: string; code: string | undefined };

/** Why the work on a job was ended early. */
export class Ended extends Error {
  constructor(
    readonly why: 'drained' | 'cancelled' | 'lost',
    message: string,
  ) {
    super(message);
  }
}

/** More of a message is not kept. */
const mostCharacters = 2000;
/** Of jobs that no worker takes: after so many workers, or looks of the same, the run fails, and says why. */
const mostRefusals = 100;
const longestPause = 60_000;
const busyPause = 5_000;

/** `starts`: how often workers have taken it, this time included. `drain`: with what the worker was told to end. */
export function fateOf(error: unknown, starts: number, ended: unknown): Fate {
  const text = error instanceof Error ? error.message || error.name : String(error);
  const message = text.length > mostCharacters ? `${text.slice(0, mostCharacters)}…` : text;
  const { code: given } = (error ?? {}) as { code?: unknown };
  const code = isErrorCode(given) ? given : undefined;
  if (ended instanceof Ended && code === undefined) {
    if (ended.why === 'drained') return { kind: 'returned', pause: 0, message: ended.message };
    return { kind: ended.why === 'cancelled' ? 'hopeless' : 'failed', message: ended.message, code };
  }
  if (error instanceof Refusal)
    return starts < mostRefusals
      ? { kind: 'refused', pause: Math.min(longestPause, 500 * 2 ** Math.min(starts, 10)), message }
      : { kind: 'hopeless', message: `No worker has taken it. The last said: ${message}`, code };
  // Whoever had it before is still at it, without being heard of.
  if (code === 'ERR_VERTEXQ_LOCKED' && starts < mostRefusals)
    return { kind: 'busy', pause: busyPause, message };
  const exit = code && errorCodes[code].exit;
  const isWrong = error instanceof TypeError || error instanceof RangeError;
  // A file that cannot be read or written may be there in a while, and so may memory.
  const isHopeless = isWrong || (exit && exitCodes[exit] === exitCodes.input && code !== 'ERR_VERTEXQ_FILE');
  const isTaken = code === 'ERR_VERTEXQ_EXISTS' || code === 'ERR_VERTEXQ_VERIFY';
  return { kind: isHopeless || isTaken ? 'hopeless' : 'failed', message, code };
}
