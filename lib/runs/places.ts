import { lstat, opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { plainPath } from '../files/plain-path';

/** Where a path leads. Whatever leads to the same file has the same `self`: links, other spellings, hard links, mounts. */
export interface Place {
  /** Device and inode; of what is not there yet, its folder's and its name. */
  self: string;
  exists: boolean;
  isFolder: boolean;
  /** The names it has, each with the folder it is in: its own, and that of a link that leads to it. */
  names: readonly Name[];
  /** The `self` of all folders that it is in, however far up. */
  holders: readonly string[];
}

/** A name in a folder. */
export interface Name {
  /** The folder's `self`. */
  folder: string;
  /** The folder's path. */
  path: string;
  name: string;
}

/** A folder with all that are above it, itself first. */
interface Chain {
  self: string;
  all: readonly string[];
}

/** Entries that are looked at to learn whether a folder tells upper from lower case. */
const probed = 64;

/** Finds where paths lead. What is learnt of folders is kept, so an instance serves one look at the file system. */
export class Places {
  private readonly chains = new Map<string, Promise<Chain>>();

  async of(path: string): Promise<Place> {
    const at = resolve(plainPath(path));
    const name = await this.nameOf(at);
    const real = await realpath(at).catch(() => undefined);
    const found = real === undefined ? undefined : await stat(real, { bigint: true }).catch(() => undefined);
    if (real === undefined || !found) {
      // Nothing there, a link to nothing, or a folder that lets nobody look: then its own name is what can be told.
      if (!name) return { self: at, exists: false, isFolder: true, names: [], holders: [] };
      const above = await this.chainOf(dirname(at));
      return { self: keyOf(name), exists: false, isFolder: false, names: [name], holders: above.all };
    }
    const own = await this.nameOf(real);
    return {
      self: identity(found, real),
      exists: true,
      isFolder: found.isDirectory(),
      names: [name, own].filter((one) => one !== undefined),
      holders: own ? (await this.chainOf(dirname(real))).all : [],
    };
  }

  /** Whether two names of one folder that differ in case alone are the same there. */
  async ignoresCase({ path }: Pick<Name, 'path'>): Promise<boolean> {
    const names: string[] = [];
    try {
      for await (const { name } of await opendir(path)) if (names.push(name) === probed) break;
    } catch {
      // A folder that is not there yet, or cannot be listed: its own name must do, or the folder that it will be in.
    }
    for (const at of [...names.map((name) => join(path, name)), path]) {
      const other = join(dirname(at), swappedCase(basename(at)));
      if (other === at) continue;
      const look = (file: string) => lstat(file, { bigint: true }).catch(() => null);
      const [one, two] = [await look(at), await look(other)];
      if (one) return two !== null && identity(one, at) === identity(two, other);
    }
    return dirname(path) === path ? false : this.ignoresCase({ path: dirname(path) });
  }

  private async nameOf(path: string): Promise<Name | undefined> {
    const folder = dirname(path);
    if (folder === path) return undefined;
    return { folder: (await this.chainOf(folder)).self, path: folder, name: basename(path) };
  }

  private chainOf(folder: string): Promise<Chain> {
    let chain = this.chains.get(folder);
    if (!chain) this.chains.set(folder, (chain = this.follow(folder)));
    return chain;
  }

  private async follow(folder: string): Promise<Chain> {
    const { self, holders } = await this.of(folder);
    return { self, all: [self, ...holders] };
  }
}

export const keyOf = ({ folder, name }: Name): string => `${folder}/${name}`;

/** Some network file systems have no inode numbers: there a real path is one. */
const identity = ({ dev, ino }: { dev: bigint; ino: bigint }, path: string): string =>
  ino === 0n ? path : `${dev}:${ino}`;

const swappedCase = (text: string): string =>
  [...text].map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join('');
