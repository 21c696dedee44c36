import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { availableProcessors } from '../lib/processors';
import { temporaryFolder } from './files/temporary-folder';

const all = availableParallelism();
const mounted2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n';
const mounted1 =
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n' +
  '36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n';

/** What a system with these files leaves the process. */
function processors(t: ExecutionContext, files: Record<string, string>): number {
  const root = temporaryFolder(t);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return availableProcessors(root);
}

/** The process in a group of version 2, with quotas by folder. */
const in2 = (t: ExecutionContext, path: string, quotas: Record<string, string>) =>
  processors(t, {
    'proc/self/mountinfo': mounted2,
    'proc/self/cgroup': `0::${path}\n`,
    ...Object.fromEntries(
      Object.entries(quotas).map(([folder, quota]) => [`sys/fs/cgroup${folder}/cpu.max`, `${quota}\n`]),
    ),
  });

test('S3 18: without quotas all processors count', (t) => {
  t.is(processors(t, {}), all);
  t.is(in2(t, '/', { '': 'max 100000' }), all);
  t.is(in2(t, '/own', { '/own': 'max 100000', '': '100000000 100000' }), all);
});

test('S3 18: a container’s quota of processors is the number of threads; a part of one counts as one', (t) => {
  t.is(in2(t, '/own', { '/own': '100000 100000' }), 1);
  t.is(in2(t, '/own', { '/own': '20000 100000' }), 1);
  t.is(in2(t, '/own', { '/own': '150000 100000' }), Math.min(all, 2));
  // The least on the way to the root.
  t.is(in2(t, '/outer/own', { '/outer/own': '800000 100000', '/outer': '50000 50000' }), 1);
  // A container that sees its own group as the root.
  t.is(in2(t, '/../..', { '': '100000 100000' }), 1);
});

test('S3 18: version 1 of control groups, where another controller has another path', (t) => {
  const in1 = (quota: string) =>
    processors(t, {
      'proc/self/mountinfo': mounted1,
      'proc/self/cgroup': '5:memory:/other\n4:cpu,cpuacct:/docker/abc\n',
      'sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us': `${quota}\n`,
      'sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us': '100000\n',
    });
  t.is(in1('-1'), all);
  t.is(in1('100000'), 1);
});

test('numbers that make no sense are no limit', (t) => {
  for (const quota of ['', 'max', '0 100000', '100000 0', '1e5 100000', 'x y'])
    t.is(in2(t, '/own', { '/own': quota }), all);
});

test('of this system there is at least one, and it is asked once', (t) => {
  t.true(availableProcessors() >= 1 && availableProcessors() <= all);
});
