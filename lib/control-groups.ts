import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

// Control groups of Linux (cgroups), versions 1 and 2. `root`: where the system's files are looked for.

/** A control group that may limit the process: its folder, from `root`. */
export interface Group {
  version: 1 | 2;
  folder: string;
}

/** All groups that limit the process by a controller ("memory", "cpu"), of both versions: its own, and every one on the way to the root. */
export function groupsOf(root: string, controller: string): Group[] {
  const groups: Group[] = [];
  for (const { path, mount, version } of ownGroups(root, controller))
    for (let group = path; ; group = posix.dirname(group)) {
      groups.push({ version, folder: posix.join(mount, group) });
      if (group === '/') break;
    }
  return groups;
}

/** The groups that the process is in: where their hierarchy is mounted, and their path below that. */
function ownGroups(
  root: string,
  controller: string,
): { path: string; mount: string; version: Group['version'] }[] {
  const mounts = textOf(root, 'proc/self/mountinfo')
    .split('\n')
    .flatMap((line) => groupMount(line, controller));
  return textOf(root, 'proc/self/cgroup')
    .split('\n')
    .flatMap((line) => {
      const [, id, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
      if (id === undefined || controllers === undefined || path === undefined) return [];
      const isFirst = controllers.split(',').includes(controller);
      if (!isFirst && (id !== '0' || controllers !== '')) return [];
      const version = isFirst ? 1 : 2;
      return mounts
        .filter((mount) => mount.version === version)
        .map(({ mount, top }) => ({ path: pathBelow(root, mount, top, path), mount, version }));
    });
}

/** A line of mountinfo, where it is a hierarchy of control groups that may have the controller's limits: which part of it is mounted where. */
function groupMount(
  line: string,
  controller: string,
): { mount: string; top: string; version: Group['version'] }[] {
  const [where = '', what = ''] = line.split(' - ');
  const [, , , top, mount] = where.split(' ').map(unescaped);
  const [type, , options = ''] = what.split(' ');
  if (top === undefined || mount === undefined) return [];
  if (type === 'cgroup2') return [{ mount, top, version: 2 }];
  return type === 'cgroup' && options.split(',').includes(controller) ? [{ mount, top, version: 1 }] : [];
}

/**
 * The group's path below a mount point. A container may see a part of the hierarchy alone, mounted under other names than its process's
 * path: then the mount point is its own group.
 */
function pathBelow(root: string, mount: string, top: string, path: string): string {
  const below =
    top === '/' ? path : path === top || path.startsWith(`${top}/`) ? path.slice(top.length) : '/';
  const normal = posix.normalize(`/${below}`);
  return path.includes('/..') || !existsSync(join(root, mount, normal)) ? '/' : normal;
}

/** Spaces and backslashes stand in mountinfo as octal numbers. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)));
}

/** The text of a file of the system's; empty where there is none. */
export function textOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), 'latin1');
  } catch {
    return '';
  }
}
