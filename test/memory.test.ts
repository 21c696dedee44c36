import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { availableMemory, memoryRoom, requireMemory } from '../lib/memory';

const GiB = 2 ** 30;

/** A folder with the given files, in place of the root of a Linux system with 8 GiB available and no limits. */
function system(t: ExecutionContext, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'vertexq-system-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const all = {
    'proc/meminfo': `MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    ${8 * 2 ** 20} kB\n`,
    'proc/self/limits':
      'Limit                     Soft Limit           Hard Limit           Units     \nMax data size             unlimited            unlimited            bytes     \nMax address space         unlimited            unlimited            bytes     \n',
    'proc/self/status': 'Name:\tnode\nVmSize:\t  3145728 kB\nVmData:\t   524288 kB\n',
    ...files,
  };
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const mounted2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n';
const mounted1 =
  '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n' +
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n' +
  '39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n';

function group2(folder: string, limit: string | number, use: number, stat = ''): Record<string, string> {
  return {
    [`sys/fs/cgroup${folder}/memory.max`]: `${limit}\n`,
    [`sys/fs/cgroup${folder}/memory.current`]: `${use}\n`,
    [`sys/fs/cgroup${folder}/memory.stat`]: stat,
  };
}
function group1(folder: string, limit: number | string, use: number, stat = ''): Record<string, string> {
  return {
    [`sys/fs/cgroup/memory${folder}/memory.limit_in_bytes`]: `${limit}\n`,
    [`sys/fs/cgroup/memory${folder}/memory.usage_in_bytes`]: `${use}\n`,
    [`sys/fs/cgroup/memory${folder}/memory.stat`]: stat,
  };
}

test('without limits, what the machine has available counts', (t) => {
  t.is(availableMemory(system(t, {})), 8 * GiB);
});

test('control groups of version 2: the least room on the way to the root, less what is used, and the page cache is free', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': mounted2,
    'proc/self/cgroup': '0::/outer/middle/own\n',
    ...group2('/outer', 3 * GiB, 2 * GiB, `anon 5\ninactive_file ${GiB / 4}\nactive_file ${GiB / 4}\n`),
    ...group2('/outer/middle', 'max', GiB),
    ...group2('/outer/middle/own', 4 * GiB, GiB),
  });
  t.is(availableMemory(root), 1.5 * GiB);
  t.regex(memoryRoom(root).of, /container, 3.22 GB/);
});

test('control groups of version 2 in a container, which sees its own group as the root', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': mounted2,
    'proc/self/cgroup': '0::/\n',
    ...group2('', GiB, GiB / 4),
  });
  t.is(availableMemory(root), 0.75 * GiB);
});

test('control groups of version 1: nested, and a limit near 2^63 is none', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': mounted1,
    'proc/self/cgroup': '8:pids:/\n4:memory:/a/b\n0::/\n',
    ...group1('', '9223372036854771712', 6 * GiB),
    ...group1('/a', 2 * GiB, GiB, `total_inactive_file ${GiB / 8}\ntotal_active_file 0\n`),
    ...group1('/a/b', 5 * GiB, GiB),
  });
  t.is(availableMemory(root), 1.125 * GiB);
});

test('control groups of version 1 of a container whose path exists on the host alone', (t) => {
  const root = system(t, {
    'proc/self/mountinfo':
      '35 31 0:32 /docker/0a1b /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n',
    'proc/self/cgroup': '4:memory:/docker/0a1b\n',
    ...group1('', 2 * GiB, GiB),
  });
  t.is(availableMemory(root), GiB);
  const elsewhere = system(t, {
    'proc/self/mountinfo': mounted1,
    'proc/self/cgroup': '4:memory:/../../kubepods/pod1\n',
    ...group1('', 2 * GiB, GiB),
  });
  t.is(availableMemory(elsewhere), GiB);
});

test('a group that is over its limit leaves nothing', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': mounted2,
    'proc/self/cgroup': '0::/own\n',
    ...group2('/own', GiB, 2 * GiB),
  });
  t.is(availableMemory(root), 0);
});

test('limits of addresses and of data, less what the process has', (t) => {
  const limits = (data: string, addresses: string) =>
    `Max data size             ${data}            unlimited            bytes     \nMax address space         ${addresses}           unlimited            bytes     \n`;
  t.is(availableMemory(system(t, { 'proc/self/limits': limits('unlimited', String(4 * GiB)) })), GiB);
  t.is(availableMemory(system(t, { 'proc/self/limits': limits(String(GiB), 'unlimited') })), GiB / 2);
});

test('files that are missing or hold something else limit nothing', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': `nonsense\n${mounted2}\n1 - cgroup\n`,
    'proc/self/cgroup': '\n0::\n0::/gone\nx:memory:/\n',
    'sys/fs/cgroup/memory.max': 'a lot\n',
    'proc/self/limits': '',
  });
  t.is(availableMemory(root), 8 * GiB);
  t.true(availableMemory(join(root, 'nowhere')) > 0);
});

test('requireMemory says what is needed, what there is and the way out', (t) => {
  const root = system(t, {
    'proc/self/mountinfo': mounted2,
    'proc/self/cgroup': '0::/own\n',
    ...group2('/own', GiB, GiB / 2),
  });
  t.notThrows(() => requireMemory(GiB / 2, 'a layer', 'Take less.', root));
  t.throws(() => requireMemory(14.2e9, 'layer "fc1"', 'Take less.', root), {
    code: 'ERR_VERTEXQ_MEMORY',
    message:
      'layer "fc1" needs about 14.2 GB of memory, and there is room for 537 MB under the limit of the control group or container, 1.07 GB. Take less.',
  });
  // What is too little to ask for passes even where nothing is left.
  t.notThrows(() => requireMemory(1000, 'a layer', 'Take less.', root));
});

const onLinux = process.platform === 'linux' ? test : test.skip;
onLinux('the limit of addresses of this very system is seen', (t) => {
  const script = `console.log(require(${JSON.stringify(join(__dirname, '../dist/memory'))}).memoryRoom())`;
  const out = execFileSync(
    'bash',
    ['-c', 'ulimit -v 4000000 && exec "$0" -e "$1"', process.execPath, script],
    {
      encoding: 'utf8',
    },
  );
  t.regex(out, /ulimit -v/);
});
