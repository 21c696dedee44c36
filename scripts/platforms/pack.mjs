// npm run pack:all [-- folder]: makes the tarballs to publish in packed/ (or that folder): vertexq, which names the packages of all platforms
// as optional dependencies, and those of the platforms that are built (build.mjs). npm publish takes them as they are.
// package.json itself does not name them: before they are published a clone could not be installed, and package-lock.json would need their hashes.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFolder } from './build.mjs';
import { targets } from './targets.mjs';
import { run } from './wheels.mjs';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** What packages need of their description; the rest is for those who work on vertexq. */
const forDevelopers = ['devDependencies', 'overrides', 'ava', 'knip', 'prettier'];

/** Makes the tarball of a folder and returns its path. */
function packFolder(folder, to) {
  const name = run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', to], {
    cwd: folder,
  });
  return path.join(to, name.trim().split('\n').at(-1));
}

/** The description as it is published. */
function published(description) {
  const kept = Object.entries(description).filter(([key]) => !forDevelopers.includes(key));
  const { install } = description.scripts;
  const platforms = targets.map(({ name }) => [`@vertexq/${name}`, description.version]);
  return {
    ...Object.fromEntries(kept),
    scripts: { install },
    optionalDependencies: Object.fromEntries(platforms),
  };
}

/** Where a file of the repository can be read, for links to what is not in the package. */
function addressOf({ repository, version }) {
  const pages = repository.url.replace(/^git\+/, '').replace(/\.git$/, '');
  return (file) =>
    `${pages}/${file.endsWith('/') || !path.extname(file) ? 'tree' : 'blob'}/v${version}/${file}`;
}

/** Links to files that are not in the package lead to the repository. `file`: of the document, within the package. */
export function withWorkingLinks(text, file, has, address) {
  return text.replace(/\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)/g, (link, target, heading = '') => {
    const to = path.posix.join(path.posix.dirname(file), target);
    return has(to) ? link : `](${address(to)}${heading})`;
  });
}

function* documentsUnder(folder, inside = '') {
  for (const entry of readdirSync(path.join(folder, inside), { withFileTypes: true })) {
    const name = path.posix.join(inside, entry.name);
    if (entry.isDirectory()) yield* documentsUnder(folder, name);
    else if (name.endsWith('.md')) yield name;
  }
}

/** Makes vertexq's own tarball. */
function packMain(to, temp) {
  const plain = packFolder(root, temp);
  run('tar', ['-xzf', plain, '-C', temp]);
  const folder = path.join(temp, 'package');
  const descriptionFile = path.join(folder, 'package.json');
  const description = JSON.parse(readFileSync(descriptionFile, 'utf8'));
  writeFileSync(descriptionFile, `${JSON.stringify(published(description), null, 2)}\n`);
  const has = (name) => existsSync(path.join(folder, name)) && statSync(path.join(folder, name)).isFile();
  for (const name of documentsUnder(folder)) {
    const file = path.join(folder, name);
    writeFileSync(file, withWorkingLinks(readFileSync(file, 'utf8'), name, has, addressOf(description)));
  }
  return packFolder(folder, to);
}

/** Makes the tarballs in a folder. Returns their paths: vertexq's, and those of the platforms that are built. */
export function packAll(to) {
  mkdirSync(to, { recursive: true });
  const temp = mkdtempSync(path.join(os.tmpdir(), 'vertexq-pack-'));
  try {
    const main = packMain(to, temp);
    const built = targets.filter((target) => existsSync(path.join(packageFolder(target), 'package.json')));
    return {
      main,
      platforms: built.map((target) => ({ target, file: packFolder(packageFolder(target), to) })),
    };
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  run(process.execPath, [path.join(root, 'scripts', 'setup.mjs'), '--quiet'], { cwd: root });
  const { main, platforms } = packAll(path.resolve(process.argv[2] ?? path.join(root, 'packed')));
  for (const file of [main, ...platforms.map((each) => each.file)]) console.log(file);
}
