// Makes a fresh clone ready to work in, and does nothing where it is: system packages, npm packages, the addon, dist/. Needs Node
// alone. --tests: with the native tests and what all tests need besides. --quiet: says only what fails. --skip-build: stops after npm's
// packages.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages, onPath } from './system-packages.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const { REMEDIES, addonPath, buildFromSource, loads } = require('./native-build.cjs');
const { includeDirs } = require('./blas-flags.cjs');

const quiet = process.argv.includes('--quiet');
const skipBuild = process.argv.includes('--skip-build');
const forTests = process.argv.includes('--tests');
const statePath = path.join(root, '.cache', 'setup.json');

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

/** Runs one step that returns { ok, output }; one line when it went well, everything it said when it did not. */
function step(name, action) {
  const start = performance.now();
  const { ok, output } = action();
  if (!ok) fail(`${name} failed\n${output}`);
  if (!quiet) console.log(`setup: ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  return { ok: done.status === 0, output: `${done.stdout ?? ''}${done.stderr ?? ''}${done.error ?? ''}` };
}

// --- Node

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17))
    fail(`Node 20.17 or later is needed; this is ${process.version}.`);
}

// --- system packages

function hasHeader(name) {
  const dirs = [...includeDirs(), '/usr/local/include', '/usr/include'];
  if (existsSync('/usr/include')) {
    const multiarch = readdirSync('/usr/include').filter((entry) => entry.includes('-linux-'));
    dirs.push(...multiarch.map((entry) => `/usr/include/${entry}`));
  }
  return dirs.some((dir) => existsSync(path.join(dir, name)));
}

/** Debian's names of the packages that are missing. What is needed counts, not where it came from. */
function missingPackages() {
  const have = {
    // Not cblas.h, which may be netlib's.
    'libopenblas-dev': hasHeader('openblas_config.h'),
    'liblapacke-dev': hasHeader('lapacke.h'),
    'pkg-config': onPath('pkg-config'),
    cmake: onPath('cmake'),
    'g++': onPath('c++', 'g++', 'clang++'),
    make: onPath('make', 'ninja'),
    // Debian starts it where it is installed: nobody asked for that who looks at the demo.
    ...(forTests && {
      'doctest-dev': hasHeader('doctest/doctest.h'),
      'redis-server': onPath('redis-server'),
    }),
  };
  return Object.keys(have).filter((name) => !have[name]);
}

function checkSystem() {
  if (process.platform === 'win32') return; // the build itself says what it lacks
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (!onPath('apt-get')) fail(`missing: ${missing.join(', ')} (names of Debian packages).\n${REMEDIES}`);

  step(`system packages: ${missing.join(' ')}`, () => installPackages(missing, run, fail));
}

// --- npm packages

/** Compares package-lock.json with npm's own record of what it installed last. */
function npmIsCurrent() {
  const installedPath = path.join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const wanted = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([name, { version, optional }]) =>
      name === '' || installed[name]?.version === version || (optional && !installed[name]),
  );
}

function installNpm() {
  if (npmIsCurrent()) return;
  step('npm packages', () => {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
    const self = process.env.npm_execpath ?? ''; // the npm that runs this, unless it is another package manager
    if (path.basename(self) === 'npm-cli.js') return run(process.execPath, [self, ...args]);
    return run('npm', args, { shell: process.platform === 'win32' });
  });
}

// --- builds

function* filesUnder(file) {
  if (!statSync(file).isDirectory()) yield file;
  else for (const entry of readdirSync(file).sort()) yield* filesUnder(path.join(file, entry));
}

function hashOf(...names) {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`);
  for (const name of names) {
    for (const file of filesUnder(path.join(root, name))) {
      hash.update(`\n${path.relative(root, file)}\n`).update(readFileSync(file));
    }
  }
  return hash.digest('hex');
}

function readState() {
  try {
    return JSON.parse(readFileSync(statePath, 'utf8'));
  } catch {
    return {};
  }
}

function remember(change) {
  mkdirSync(path.dirname(statePath), { recursive: true });
  writeFileSync(statePath, JSON.stringify({ ...readState(), ...change }));
}

function buildAddon(native) {
  step(`native addon${forTests ? ' and tests' : ''}`, () => {
    const built = buildFromSource(root, { tests: forTests });
    if (!built.ok || loads(addonPath(root))) return built;
    return { ok: false, output: `${built.output}\n${addonPath(root)} was built but does not load.` };
  });
  remember({ native, nativeTests: forTests });
}

function buildDist(lib) {
  step('dist/', () => {
    rmSync(path.join(root, 'dist'), { recursive: true, force: true }); // else deleted sources live on in it
    return run(process.execPath, [require.resolve('typescript/bin/tsc')]);
  });
  remember({ lib });
}

checkNode();
const native = hashOf('native', 'cmake', 'CMakeLists.txt', 'package-lock.json', 'scripts/native-build.cjs');
const before = readState();
const addonIsCurrent =
  before.native === native && (before.nativeTests || !forTests) && loads(addonPath(root));
if (!addonIsCurrent || (forTests && !onPath('redis-server'))) checkSystem();
installNpm();
if (!skipBuild) {
  if (!addonIsCurrent) buildAddon(native);
  const lib = hashOf('lib', 'tsconfig.json', 'package-lock.json');
  if (readState().lib !== lib || !existsSync(path.join(root, 'dist', 'index.js'))) buildDist(lib);
}
