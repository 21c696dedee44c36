import { freemem } from 'node:os';
import { posix } from 'node:path';
import { type Group, groupsOf, textOf } from './control-groups';
import { VertexqError } from './errors';
import { formatBytes } from './reports/units';

/** What is left of one limit, and whose limit it is. */
export interface Room {
  bytes: number;
  /** To follow "there is room for … ": `under the limit of …`. */
  of: string;
}

/** Less is not asked for: reading the limits takes a fifth of a millisecond, and allocations that fail are errors in any case. */
const leastAsked = 2 ** 24;

/**
 * Bytes that this process can still take: the least of what the machine has available, of what the limits of its control groups leave
 * (versions 1 and 2, every group on the way to the root) and of `ulimit -v` and `-d`. Without /proc, the machine's free memory.
 */
export function availableMemory(root = '/'): number {
  return memoryRoom(root).bytes;
}

/**
 * Throws ERR_VERTEXQ_MEMORY where there is no room for `bytes`. `what` needs them ("layer fc1: …"); `wayOut` is a sentence that
 * says what would need less.
 */
export function requireMemory(bytes: number, what: string, wayOut: string, root = '/'): void {
  if (bytes < leastAsked) return;
  const room = memoryRoom(root);
  if (bytes <= room.bytes) return;
  throw new VertexqError(
    'ERR_VERTEXQ_MEMORY',
    `${what} needs about ${formatBytes(bytes)} of memory, and there is room for ${formatBytes(room.bytes)} ${room.of}. ${wayOut}`,
  );
}

/** The tightest of all limits. `root`: where the system's files are looked for. */
export function memoryRoom(root = '/'): Room {
  const rooms = [machineRoom(root), ...processRooms(root), ...groupRooms(root)];
  return rooms.reduce((least, room) => (room.bytes < least.bytes ? room : least));
}

function machineRoom(root: string): Room {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(textOf(root, 'proc/meminfo'))?.[1];
  return { bytes: available === undefined ? freemem() : 1024 * Number(available), of: 'on this machine' };
}

/** Limits of the process: on its addresses, and since Linux 4.7 on its private writable memory. */
function processRooms(root: string): Room[] {
  const limits = textOf(root, 'proc/self/limits');
  const status = textOf(root, 'proc/self/status');
  const room = (limit: RegExp, use: RegExp, of: string): Room[] => {
    const most = limit.exec(limits)?.[1];
    const used = use.exec(status)?.[1];
    if (most === undefined || used === undefined) return [];
    return [{ bytes: Math.max(0, Number(most) - 1024 * Number(used)), of }];
  };
  return [
    ...room(/^Max address space\s+(\d+)/m, /^VmSize:\s+(\d+) kB$/m, 'under the limit of "ulimit -v"'),
    ...room(/^Max data size\s+(\d+)/m, /^VmData:\s+(\d+) kB$/m, 'under the limit of "ulimit -d"'),
  ];
}

/** What the two versions of control groups call things. */
interface GroupFiles {
  limit: string;
  use: string;
  /** Lines of memory.stat whose bytes the kernel takes back when they are needed. */
  cache: readonly string[];
}
const filesOf: Record<Group['version'], GroupFiles> = {
  1: {
    limit: 'memory.limit_in_bytes',
    use: 'memory.usage_in_bytes',
    cache: ['total_inactive_file', 'total_active_file'],
  },
  2: {
    limit: 'memory.max',
    use: 'memory.current',
    cache: ['inactive_file', 'active_file', 'slab_reclaimable'],
  },
};

/** The least limit on the way to the root counts. */
const groupRooms = (root: string): Room[] =>
  groupsOf(root, 'memory').flatMap(({ version, folder }) => groupRoom(root, folder, filesOf[version]) ?? []);

function groupRoom(root: string, folder: string, { limit, use, cache }: GroupFiles): Room | undefined {
  const most = numberIn(textOf(root, posix.join(folder, limit)));
  const used = numberIn(textOf(root, posix.join(folder, use)));
  // Version 1 says "none" with a number near 2^63, version 2 with "max".
  if (most === undefined || used === undefined || most >= 2 ** 62) return undefined;
  const stat = textOf(root, posix.join(folder, 'memory.stat'));
  const freed = cache.reduce(
    (sum, name) => sum + Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0),
    0,
  );
  return {
    bytes: Math.max(0, Math.min(most, most - used + freed)),
    of: `under the limit of the control group or container, ${formatBytes(most)}`,
  };
}

function numberIn(text: string): number | undefined {
  return /^\d+\s*$/.test(text) ? Number(text) : undefined;
}
