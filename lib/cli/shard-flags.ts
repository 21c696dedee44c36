import type { ShardOfPlan } from '../checkpoints/sharded/types';

// Which part of a plan a worker does: by its flags, or by what Kubernetes and Slurm put into the environment.

const digits = /^\d{1,9}$/;

/** Of `--shards`. */
export function countIn(text: string): number {
  if (!digits.test(text) || Number(text) < 1) throw new RangeError('Expected a whole number, 1 or more.');
  return Number(text);
}

/** Of `--shard`. */
export function shardIn(text: string): ShardOfPlan {
  const [index = '', count = '', ...more] = text.split('/');
  const fits = more.length === 0 && digits.test(index) && digits.test(count);
  if (!fits || Number(index) >= Number(count))
    throw new RangeError('Expected i/n, such as 0/3, 1/3 or 2/3: which part, counted from 0, of how many.');
  return { index: Number(index), count: Number(count) };
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The part that the environment tells; undefined where it tells none. `shards`: how many there are; of a Slurm array its own number
 * otherwise. Throws a RangeError where there is no such part, or nothing tells of how many.
 */
export function shardOf(env: Environment, shards: number | undefined): ShardOfPlan | undefined {
  const name = ['JOB_COMPLETION_INDEX', 'SLURM_ARRAY_TASK_ID'].find((own) => env[own]);
  if (name === undefined) {
    if (shards === undefined) return undefined;
    throw new RangeError(
      '--shards tells how many parts there are, and neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID which this is: give --shard i/n',
    );
  }
  const number = (own: string): number | undefined => {
    const text = env[own];
    if (!text) return undefined;
    if (!digits.test(text))
      throw new RangeError(`Expected ${own} to be a whole number, 0 or more, not "${text}"`);
    return Number(text);
  };
  const told = number(name)!;
  if (shards !== undefined) return within({ index: told, count: shards }, `${name} is ${told}`);
  const count = name === 'SLURM_ARRAY_TASK_ID' ? number('SLURM_ARRAY_TASK_COUNT') : undefined;
  if (count === undefined)
    throw new RangeError(
      `${name} is ${told}, and nothing tells of how many: give --shards <n>, or --shard i/n`,
    );
  // Tasks of an array may begin at any number, and leave some out evenly.
  const index = (told - (number('SLURM_ARRAY_TASK_MIN') ?? 0)) / (number('SLURM_ARRAY_TASK_STEP') ?? 1);
  return within({ index, count }, `${name} is ${told}, of an array of ${count}`);
}

function within(shard: ShardOfPlan, what: string): ShardOfPlan {
  const { index, count } = shard;
  if (Number.isInteger(index) && index >= 0 && index < count) return shard;
  throw new RangeError(
    `${what}, and parts of ${count} are counted from 0 to ${count - 1}: number tasks so and give --shards, or give --shard i/n`,
  );
}
