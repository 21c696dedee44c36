import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { version } from '../version';

/** The addon, and where it is from. */
export interface AddonFile {
  path: string;
  /** `package`: one that is published for this platform, with its OpenBLAS; `build`: made here, of the sources. */
  from: 'package' | 'build';
}

/** What a search for the addon gave. */
export interface AddonSearch {
  /** Those that are there; the first that the system can load is the one. */
  places: AddonFile[];
  /** The package that would have it, whether it is published or not. */
  packageName: string;
  /** Where a build would be. */
  build: string;
  /** Why the package is not the one, where it is there. */
  passedOver: string | null;
}

const ownFolder = join(__dirname, '..', '..');

/** Looks for the addon: in the platform's package of vertexq's own version, then where builds are. `root`: vertexq's folder. */
export function findAddon(root = ownFolder): AddonSearch {
  const packageName = platformPackage();
  const build = join(root, 'build', 'Release', 'vertexq.node');
  const folder = installed(packageName, root);
  const theirs = folder === null ? null : versionIn(folder);
  const fits = folder !== null && theirs === version;
  return {
    places: [
      ...(fits ? [{ path: join(folder, 'vertexq.node'), from: 'package' as const }] : []),
      ...(existsSync(build) ? [{ path: build, from: 'build' as const }] : []),
    ],
    packageName,
    build,
    passedOver:
      folder === null || fits ? null : `${packageName} in ${folder} is version ${theirs}, vertexq ${version}`,
  };
}

/** What to do where there is no addon, or it cannot be loaded: sentences. */
export function addonRemedy({ packageName }: AddonSearch): string {
  return (
    `"npm install ${packageName}@${version}" installs it where there is such a package (npm does so by itself, unless it is told --omit=optional). ` +
    'With a C++ compiler, CMake, OpenBLAS and LAPACKE "npm rebuild vertexq --ignore-scripts=false" builds it, or "npm run setup" in a clone.'
  );
}

/** The name of the package for this platform. */
export function platformPackage({ platform, arch, execPath } = process): string {
  const system = `${platform}-${arch}`;
  return `@vertexq/${system}${platform === 'linux' ? `-${isMusl(execPath) ? 'musl' : 'gnu'}` : ''}`;
}

/** Whether a program is loaded by musl: the loader's path stands near the begin of an ELF file. */
function isMusl(program: string): boolean {
  const head = Buffer.alloc(4096);
  try {
    const file = openSync(program, 'r');
    try {
      return head.subarray(0, readSync(file, head)).includes('/ld-musl-');
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}

/** The folder of a package beside vertexq; null where it is not, or only in a folder that is relative to the working one. */
function installed(name: string, root: string): string | null {
  const places = createRequire(join(root, 'package.json')).resolve.paths(name) ?? [];
  const place = places.find((each) => existsSync(join(each, name, 'vertexq.node')));
  return place === undefined || !isAbsolute(place) ? null : join(place, name);
}

function versionIn(folder: string): string | null {
  try {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      version?: unknown;
    };
    return typeof version === 'string' ? version : null;
  } catch {
    return null;
  }
}
