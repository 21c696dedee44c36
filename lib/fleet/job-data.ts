import { isAbsolute } from 'node:path';
import type { Kernels } from '../environment';
import { VertexqError } from '../errors';
import type { ShardOfPlan } from '../checkpoints/sharded/types';
import { job as rows } from '../options/fleet-rows';
import { checkAll } from '../options/kinds';
import { describe, inPlace } from '../options/messages';
import type { Piece } from './types';

/** All that a job holds. What it is about is in the plan, whose hash it has. */
export interface JobData {
  schemaVersion: 1;
  /** The version of vertexq that the plan is of, and the kernels: others leave the job to those that have them. */
  vertexq: string;
  kernels: Kernels;
  /** An absolute path, and the SHA-256 of that file. */
  plan: string;
  sha256: string;
  run: string;
  /** Of a part: which. */
  shard?: ShardOfPlan;
}

/** Of what is longer nothing is looked at. */
const maxLength = 16_384;
const maxPath = 4096;

/** What queues call the jobs. */
export const jobNames = { part: 'part', finish: 'finish' } as const;

/** The job ids of a run: of its end, and of a part. */
export const runIdOf = (planId: string) => planId.slice(0, 32);
export const partIdOf = (run: string, { index, count }: ShardOfPlan) => `${run}-${index}-${count}`;

/** What came from a queue, where it is a job of this version. Throws ERR_VERTEXQ_JOB, which names what is wrong. */
export function checkedJob(called: string, name: unknown, given: unknown): { data: JobData; piece: Piece } {
  try {
    return inPlace(called, () => checked(name, given));
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_JOB', (cause as Error).message, { cause });
  }
}

function checked(name: unknown, given: unknown): { data: JobData; piece: Piece } {
  const isPart = name === jobNames.part;
  if (!isPart && name !== jobNames.finish)
    throw new RangeError(`expected a job called "part" or "finish", not ${describe(name)}`);
  const { length } = JSON.stringify(given) ?? '';
  if (length > maxLength)
    throw new RangeError(`expected ${maxLength} characters of data at most, not ${length}`);
  checkAll(given, rows);
  const data = given as JobData;
  requireAll(
    given as object,
    Object.keys(rows).filter((own) => own !== 'shard'),
  );
  requireAll(data.kernels, ['blas', 'simd'], 'kernels.');
  if (!isAbsolute(data.plan) || data.plan.includes('\0') || data.plan.length > maxPath)
    throw new RangeError(`expected "plan" to be an absolute path, not ${describe(data.plan)}`);
  const { shard } = data;
  if (isPart !== (shard !== undefined))
    throw new TypeError(isPart ? 'expected "shard" to be given' : 'expected no "shard", as it is no part');
  if (shard === undefined) return { data, piece: 'finish' };
  requireAll(shard, ['index', 'count'], 'shard.');
  if (!(shard.index < shard.count))
    throw new RangeError(`expected "shard.index" to be below ${shard.count}, not ${describe(shard.index)}`);
  return { data, piece: shard };
}

function requireAll(given: object, names: readonly string[], of = ''): void {
  for (const name of names)
    if ((given as Record<string, unknown>)[name] === undefined)
      throw new TypeError(`expected "${of}${name}" to be given`);
}

/** How a part is called in messages. */
export const pieceName = (piece: Piece): string =>
  piece === 'finish' ? 'finish' : `part ${piece.index}/${piece.count}`;
