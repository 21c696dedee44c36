import { isErrorCode } from '../error-codes';
import { VertexqError } from '../errors';

// What the three sides of an isolated task say to each other: the caller's process, the supervisor, the task's thread.

/** What a task is at: numbers that its caller can name, such as a file and a line. */
export type Unit = readonly [number, number];

/** What a task has besides its input. */
export interface TaskContext {
  /** What is worked at from now on, for which there is a limit of time; null: waiting, without one. */
  enter: (unit: Unit | null) => void;
  /** Passes a part of the result on. */
  part: (part: unknown) => void;
  warn: (text: string) => void;
}

export type Task = (input: never, context: TaskContext) => unknown;

/** What the supervisor is told once. */
export interface Job {
  task: string;
  input: unknown;
  /** How long a unit may take. */
  seconds: number;
  /** Heap of the task at most, in MiB. */
  heap: number;
}

/** What comes back: first the heap, in MiB, that the task's thread has; then any number of the next four, and one of the others. */
export type Answer =
  | { kind: 'heap'; heap: number }
  | { kind: 'alive' }
  | { kind: 'part'; part: unknown }
  | { kind: 'warning'; text: string }
  /** A unit has been worked at for a while. */
  | { kind: 'at'; unit: Unit }
  | { kind: 'done'; result: unknown }
  | { kind: 'failed'; error: PlainError }
  | { kind: 'slow'; unit: Unit }
  | { kind: 'full' };

/** An error as data. */
export interface PlainError {
  name: string;
  message: string;
  code: string | undefined;
  cause: string | undefined;
}

export function plainError(error: unknown): PlainError {
  const { name, message, code, cause } = (
    error instanceof Error ? error : new Error(String(error))
  ) as Error & {
    code?: unknown;
  };
  return {
    name,
    message,
    code: typeof code === 'string' ? code : undefined,
    cause: cause instanceof Error ? cause.message : undefined,
  };
}

/** The error again, of the type it was where that is one of those that callers tell apart. */
export function errorOf({ name, message, code, cause }: PlainError): Error {
  const options = cause === undefined ? {} : { cause: new Error(cause) };
  if (isErrorCode(code)) return new VertexqError(code, message, options);
  const Known = { RangeError, TypeError }[name] ?? Error;
  return Object.assign(new Known(message, options), code === undefined ? {} : { code });
}
