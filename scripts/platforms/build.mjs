// npm run build:platform [-- linux-x64-gnu … | all]: makes the package @vertexq/<platform>, with the addon and its OpenBLAS, of the sources
// here; without names that of this machine. Needs Linux on x64, CMake, make, and python3 with pip, which fetches compiler and OpenBLAS.
import { availableParallelism } from 'node:os';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { targetNamed, targets } from './targets.mjs';
import { run, unpackedWheel } from './wheels.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(path.dirname(here));
const cache = path.join(root, '.cache', 'platforms');

/** Where the package of a target is made. */
export const packageFolder = (target) => path.join(cache, target.name, 'package');

const compilerFolder = () =>
  path.join(
    unpackedWheel(path.join(here, 'compiler.txt'), 'manylinux_2_12_x86_64', path.join(cache, 'compiler')),
    'ziglang',
  );

/** Programs by the names and in the form that CMake calls them in. */
function tools(target) {
  const zig = path.join(compilerFolder(), 'zig');
  chmodSync(zig, 0o755);
  const bin = path.join(cache, target.name, 'bin');
  mkdirSync(bin, { recursive: true });
  const commands = { 'c++': `c++ -target ${target.triple}`, ar: 'ar', ranlib: 'ranlib' };
  for (const [name, words] of Object.entries(commands))
    writeFileSync(path.join(bin, name), `#!/bin/sh\nexec '${zig}' ${words} "$@"\n`, { mode: 0o755 });
  return { zig, bin };
}

/** On Windows a program's own functions are linked from a list of them; elsewhere they are found when the addon is loaded. */
function nodeImports(target, zig) {
  if (!target.machine) return [];
  const definitions = path.join(root, 'node_modules', 'node-api-headers', 'def', 'node_api.def');
  const library = path.join(cache, target.name, 'node.lib');
  run(zig, ['dlltool', '-m', target.machine, '-D', 'node.exe', '-d', definitions, '-l', library]);
  return [`-DCMAKE_JS_LIB=${library}`];
}

function compile(target, openblas) {
  const { zig, bin } = tools(target);
  const build = path.join(cache, target.name, 'build');
  const modules = path.join(root, 'node_modules');
  const headers = [path.join(modules, 'node-api-headers', 'include'), path.join(modules, 'node-addon-api')];
  const linker = ['-s', target.linker].filter(Boolean).join(' ');
  run('cmake', [
    ...['-S', root, '-B', build, '-DCMAKE_BUILD_TYPE=Release', '-DCMAKE_SKIP_INSTALL_RULES=ON'],
    `-DCMAKE_CXX_COMPILER=${path.join(bin, 'c++')}`,
    `-DCMAKE_AR=${path.join(bin, 'ar')}`,
    `-DCMAKE_RANLIB=${path.join(bin, 'ranlib')}`,
    `-DCMAKE_SHARED_LINKER_FLAGS=${linker}`,
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    `-DVERTEXQ_BUNDLED_OPENBLAS=${openblas}`,
    ...target.cmake,
    ...nodeImports(target, zig),
  ]);
  run('cmake', ['--build', build, '--target', 'vertexq', '--parallel', String(availableParallelism())]);
  return path.join(build, 'vertexq.node');
}

/** What is in the package besides vertexq's own code. */
function notices(target, wheel) {
  const lib = path.join(compilerFolder(), 'lib');
  const parts = {
    'OpenBLAS, LAPACK, and the GCC runtime libraries within them': licenceOf(wheel),
    'libc++, libc++abi and libunwind of LLVM': path.join(lib, 'libcxx', 'LICENSE.TXT'),
    "the compiler's runtime": path.join(compilerFolder(), 'LICENSE'),
    ...(target.triple.includes('windows') && { 'mingw-w64': path.join(lib, 'libc', 'mingw', 'COPYING') }),
    ...(target.triple.includes('musl') && { musl: path.join(lib, 'libc', 'musl', 'COPYRIGHT') }),
  };
  return Object.entries(parts)
    .map(([what, file]) => `${'='.repeat(100)}\n${what}\n${'='.repeat(100)}\n\n${readFileSync(file, 'utf8')}`)
    .join('\n');
}

function licenceOf(wheel) {
  const { version } = /^scipy-openblas32==(?<version>\S+)/m.exec(
    readFileSync(path.join(here, 'openblas.txt'), 'utf8'),
  ).groups;
  return path.join(wheel, `scipy_openblas32-${version}.dist-info`, 'licenses', 'LICENSE.txt');
}

/** Makes the package of one target in packageFolder(target). */
export function buildPlatform(target) {
  const wheel = unpackedWheel(
    path.join(here, 'openblas.txt'),
    target.wheel,
    path.join(cache, target.name, 'openblas'),
  );
  const openblas = path.join(wheel, 'scipy_openblas32');
  const addon = compile(target, openblas);

  const folder = packageFolder(target);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(addon, path.join(folder, 'vertexq.node'));
  copyFileSync(path.join(openblas, 'lib', target.library), path.join(folder, target.library));
  copyFileSync(path.join(root, 'LICENSE'), path.join(folder, 'LICENSE'));
  writeFileSync(path.join(folder, 'THIRD-PARTY-LICENSES.txt'), notices(target, wheel));
  const main = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const description = {
    name: `@vertexq/${target.name}`,
    version: main.version,
    description: `The native addon of vertexq for ${target.name}, with OpenBLAS`,
    // What is compiled in or beside: THIRD-PARTY-LICENSES.txt.
    license:
      'Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND (Apache-2.0 WITH LLVM-exception) AND MIT AND (GPL-3.0-or-later WITH GCC-exception-3.1)',
    repository: main.repository,
    main: 'vertexq.node',
    files: ['vertexq.node', target.library, 'THIRD-PARTY-LICENSES.txt'],
    engines: main.engines,
    ...target.only,
  };
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(description, null, 2)}\n`);
  writeFileSync(
    path.join(folder, 'README.md'),
    `# @vertexq/${target.name}\n\nThe native addon of [vertexq](https://www.npmjs.com/package/vertexq), with OpenBLAS. Install vertexq; it brings this along.\n`,
  );
  return folder;
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  if (!existsSync(path.join(root, 'node_modules')))
    throw new Error('npm packages are missing: npm run setup');
  const wanted = names.includes('all') ? targets : (names.length > 0 ? names : [undefined]).map(targetNamed);
  for (const target of wanted) console.log(path.relative(root, buildPlatform(target)));
}
