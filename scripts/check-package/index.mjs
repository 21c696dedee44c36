// npm run check:package: checks what would be published. Packs it with the package of this platform, looks at the tarball with publint and
// attw and for dead links, then installs it into empty projects: with the platform's package, where there is no compiler and no OpenBLAS,
// and runs README's first example there; with neither, which must fail at once; and from the sources.
import { spawn } from 'node:child_process';
import {
  copyFileSync,
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
import { zipSync } from 'fflate';
import { buildPlatform } from '../platforms/build.mjs';
import { packAll } from '../platforms/pack.mjs';
import { targetNamed, targets } from '../platforms/targets.mjs';
import { NoWheel } from '../platforms/wheels.mjs';
import { serve } from './registry.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(path.dirname(here));
const temp = mkdtempSync(path.join(os.tmpdir(), 'vertexq-package-'));
const tool = (name) => path.join(root, 'node_modules', '.bin', name);
const bare = ['bash', path.join(here, 'bare.sh')];

const mostBytes = 60e6;
const mostSeconds = 60;

/** Runs a command and gives its exit code and all that it said. Not at once: the registry is in this process. */
function attempt(cwd, command, ...args) {
  console.log(`$ ${[command, ...args].join(' ')}`);
  return new Promise((resolve, reject) => {
    // Where tests set a folder of modules or keep npm from running scripts, users do not; nor do they call it by "npm run --silent".
    const own = { npm_config_ignore_scripts: 'false', npm_config_loglevel: 'notice' };
    const env = { ...process.env, ...own, VERTEXQ_MODULES: root };
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (said += part));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, said }));
  });
}

async function run(cwd, command, ...args) {
  const { status, said } = await attempt(cwd, command, ...args);
  if (status !== 0) throw new Error(`${command} failed\n${said}`);
  return said;
}

function must(condition, what) {
  if (!condition) throw new Error(what);
}

/** An empty project; npm finds the packages of platforms in `registry`. */
function project(name, registry) {
  const folder = path.join(temp, name);
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', private: true }));
  writeFileSync(path.join(folder, '.npmrc'), `@vertexq:registry=${registry}\naudit=false\nfund=false\n`);
  return folder;
}

function* filesUnder(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(file);
    else if (entry.isFile()) yield file;
  }
}

const bytesUnder = (folder) => [...filesUnder(folder)].reduce((sum, file) => sum + statSync(file).size, 0);

/** What a user sees of the package as files: nothing that a build left, no dead links, the address of its sources. */
function checkContents(folder) {
  const names = [...filesUnder(folder)].map((file) => path.relative(folder, file));
  const leftovers = names.filter((name) => /^build\/|\.o(bj)?$|\.tsbuildinfo$|^prebuilds\//.test(name));
  must(leftovers.length === 0, `left over from a build: ${leftovers.join(', ')}`);
  const description = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  must(description.repository?.url, 'package.json has no repository');
  must(!description.devDependencies, 'package.json has devDependencies');
  const dead = names
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => {
      const text = readFileSync(path.join(folder, name), 'utf8');
      const targets = [...text.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)/g)].map(([, target]) => target);
      return targets
        .filter((target) => !existsSync(path.join(folder, path.dirname(name), target)))
        .map((target) => `${name}: ${target}`);
    });
  must(dead.length === 0, `dead links: ${dead.join(', ')}`);
}

/** The first block of a language in README, as a user copies it. */
function example(language) {
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'm').exec(
    readFileSync(path.join(root, 'README.md'), 'utf8'),
  );
  must(block, `README has no block of ${language}`);
  return block[1];
}

/** The files that README's first example reads: a network and 300 images of noise. */
function writeExampleData(folder) {
  copyFileSync(path.join(root, 'test', 'fixtures', 'mnist-mlp.onnx'), path.join(folder, 'model.onnx'));
  const shape = [300, 784];
  const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) =>
    Math.abs(Math.sin(i * 1.3 + Math.cos(i))),
  );
  const header =
    `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n';
  const npy = Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Buffer.from([header.length, 0]),
    Buffer.from(header, 'latin1'),
    Buffer.from(values.buffer),
  ]);
  writeFileSync(path.join(folder, 'samples.npz'), zipSync({ 'image.npy': npy }, { level: 0 }));
}

/** Installed with the platform's package where nothing else is: quickly, small, and README's first example runs. */
async function checkBare(main, registry, hidden) {
  const folder = project('with-package', registry);
  const start = performance.now();
  const said = await run(folder, ...hidden, 'npm', 'install', '--foreground-scripts', main);
  must(!/cmake|compil/i.test(said), `the installation tried to build something:\n${said}`);
  const modules = path.join(folder, 'node_modules');
  must(!existsSync(path.join(modules, 'vertexq', 'build')), 'vertexq/build is there');
  const packages = readdirSync(path.join(modules, '@vertexq'));
  must(packages.length === 1, `expected one package of a platform; got ${packages.join(', ')}`);

  writeExampleData(folder);
  writeFileSync(path.join(folder, 'quantize.mjs'), example('js'));
  copyFileSync(path.join(root, 'scripts', 'smoke.cjs'), path.join(folder, 'smoke.cjs'));
  await run(folder, ...hidden, process.execPath, 'smoke.cjs');
  const printed = await run(folder, ...hidden, process.execPath, 'quantize.mjs');
  must(printed.trim().split('\n').length >= 2, `the example printed\n${printed}`);
  const line = /^npx (vertexq quantize model\.onnx .*)$/m.exec(
    readFileSync(path.join(root, 'README.md'), 'utf8'),
  )?.[1];
  must(line, 'README has no line of vertexq quantize model.onnx');
  const [name, ...args] = line.replace('model.int4.onnx', 'model.int4.cli.onnx').split(' ');
  await run(folder, ...hidden, path.join(modules, '.bin', name), ...args);
  const seconds = (performance.now() - start) / 1000;
  const bytes = bytesUnder(modules);
  console.log(
    `installed, and the example run by library and command line, in ${seconds.toFixed(1)} s; ${(bytes / 1e6).toFixed(1)} MB`,
  );
  must(bytes < mostBytes, `node_modules has ${bytes} bytes, more than ${mostBytes}`);
  // Other work on the same cores must not fail the check.
  if (seconds > mostSeconds) console.log(`more than ${mostSeconds} s: is the machine busy?`);
}

/** Without the platform's package and without a compiler: one failure, with what to do. */
async function checkRemedy(main, registry, hidden) {
  const folder = project('with-nothing', registry);
  const { status, said } = await attempt(folder, ...hidden, 'npm', 'install', '--omit=optional', main);
  must(status !== 0, 'vertexq was installed with neither a compiler nor the package of the platform');
  must(said.includes('apt-get install'), `no remedy is told:\n${said}`);
}

/** Compiled from the packed sources; nothing but the addon stays of it. */
async function checkSources(main, registry) {
  const folder = project('from-sources', registry);
  await run(folder, 'npm', 'install', '--omit=optional', main);
  const installed = path.join(folder, 'node_modules', 'vertexq');
  const build = [...filesUnder(path.join(installed, 'build'))].map((file) => path.relative(installed, file));
  must(build.join() === path.join('build', 'Release', 'vertexq.node'), `build/ holds ${build.join(', ')}`);
  copyFileSync(path.join(root, 'scripts', 'smoke.cjs'), path.join(folder, 'smoke.cjs'));
  await run(folder, process.execPath, 'smoke.cjs');
  await run(folder, path.join(folder, 'node_modules', '.bin', 'vertexq'), '--version');
}

/** Makes the package of this platform. False where PyPI cannot be reached, which has its compiler and its OpenBLAS. */
function buildOwn() {
  // A build takes a minute: not for a second look at the same sources.
  if (process.argv.includes('--built')) return true;
  try {
    buildPlatform(targetNamed());
    return true;
  } catch (error) {
    if (!(error instanceof NoWheel)) throw error;
    console.log(
      `${error.message}\nTHE PACKAGE OF THE PLATFORM IS NOT CHECKED: its compiler and OpenBLAS cannot be fetched`,
    );
    return false;
  }
}

async function main() {
  const hasOwn = buildOwn();
  const packed = packAll(temp);
  await run(temp, tool('publint'), packed.main, '--strict');
  // TypeScript's oldest resolution of modules knows no exports; the schemas are there for those who ask by them.
  await run(
    temp,
    tool('attw'),
    packed.main,
    '--exclude-entrypoints',
    './report.schema.json',
    './plan.schema.json',
  );

  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const registry = await serve(
    targets.map(({ name, only }) => ({
      description: { name: `@vertexq/${name}`, version, ...only },
      file: packed.platforms.find(({ target }) => target.name === name)?.file,
    })),
  );
  try {
    if (!hasOwn) return await checkSources(packed.main, registry.url);
    const canHide = (await attempt(temp, ...bare, 'true')).status === 0;
    if (!canHide)
      console.log(
        'compilers and OpenBLAS cannot be hidden here (that needs root): the checks without them are weaker',
      );
    await checkBare(packed.main, registry.url, canHide ? bare : []);
    checkContents(path.join(temp, 'with-package', 'node_modules', 'vertexq'));
    if (canHide) await checkRemedy(packed.main, registry.url, bare);
    await checkSources(packed.main, registry.url);
  } finally {
    registry.close();
  }
}

try {
  await main();
} catch (error) {
  console.error(`check:package: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}
