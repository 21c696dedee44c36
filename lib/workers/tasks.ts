import { readPieces } from '../models/data/json-lines-task';
import { encodeTexts } from '../models/data/text-task';
import type { Unit } from './protocol';

/** What a task has besides its input. */
export interface TaskContext {
  /** What is worked at from now on, for which there is a limit of time; null: waiting, without one. */
  enter: (unit: Unit | null) => void;
  /** Passes a part of the result on. */
  part: (part: unknown) => void;
  warn: (text: string) => void;
}

export type Task = (input: never, context: TaskContext) => unknown;

/** The tasks by name. */
export const tasks = { texts: encodeTexts, jsonLines: readPieces } as const satisfies Record<string, Task>;

export type TaskName = keyof typeof tasks;
