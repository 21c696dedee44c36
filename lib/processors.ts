import { availableParallelism } from 'node:os';
import { posix } from 'node:path';
import { groupsOf, textOf } from './control-groups';

/**
 * Processors that this process may keep busy: those that it may run on (affinity), within the quotas of its control groups (versions 1 and 2,
 * every group on the way to the root), which containers have where somebody gave them 2 of a machine's 64 processors. Parts of one count
 * as one: more threads than that would only be stopped in turns.
 */
export function availableProcessors(root?: string): number {
  return root === undefined ? (known ??= count('/')) : count(root);
}

/** Asked for at every job; reading the quotas takes a fifth of a millisecond. */
let known: number | undefined;

function count(root: string): number {
  const quotas = groupsOf(root, 'cpu').map(({ version, folder }) => {
    const text = (name: string) => textOf(root, posix.join(folder, name)).trim();
    return version === 2 ? text('cpu.max') : `${text('cpu.cfs_quota_us')} ${text('cpu.cfs_period_us')}`;
  });
  return quotas.reduce((least, quota) => {
    // "max 100000", and −1 in version 1, are no limits.
    const [, most, period] = /^(\d+) (\d+)$/.exec(quota) ?? [];
    if (most === undefined || Number(most) === 0 || Number(period) === 0) return least;
    return Math.min(least, Math.ceil(Number(most) / Number(period)));
  }, availableParallelism());
}
