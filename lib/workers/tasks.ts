import { readPieces } from '../models/data/json-lines-task';
import { encodeTexts } from '../models/data/text-task';
import type { Task } from './protocol';

/** The tasks by name. */
export const tasks = { texts: encodeTexts, jsonLines: readPieces } as const satisfies Record<string, Task>;

export type TaskName = keyof typeof tasks;
