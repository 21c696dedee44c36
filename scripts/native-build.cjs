// Building the addon build/Release/vertexq.node. Used by install.cjs (a user's npm install) and setup.mjs (a clone).
'use strict';

const { spawnSync } = require('node:child_process');
const { existsSync, readFileSync, rmSync } = require('node:fs');
const { createRequire } = require('node:module');
const os = require('node:os');
const path = require('node:path');

const addonPath = (root) => path.join(root, 'build', 'Release', 'vertexq.node');

/** Whether the addon exists and its libraries are found: asked in a process of its own, for a bad one may end it. */
function loads(file) {
  return (
    existsSync(file) && spawnSync(process.execPath, ['-e', 'require(process.argv[1])', file]).status === 0
  );
}

/** Runs commands until one fails. All they said is kept: it is shown only then. */
function runAll(commands, cwd) {
  let output = '';
  for (const [command, ...args] of commands) {
    const done = spawnSync(command, args, {
      cwd,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    output += `$ ${[command, ...args].join(' ')}\n${done.stdout ?? ''}${done.stderr ?? ''}${done.error ? `${done.error}\n` : ''}`;
    if (done.status !== 0) return { ok: false, output };
  }
  return { ok: true, output };
}

/** CMake refuses a cache made for another path (the folder was moved) and a folder that node-gyp has filled. */
function clearForeignBuild(root) {
  const build = path.join(root, 'build');
  const cache = path.join(build, 'CMakeCache.txt');
  if (existsSync(cache)) {
    const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
    if (home && path.resolve(home) === path.resolve(root)) return;
  } else if (!existsSync(path.join(build, 'config.gypi'))) {
    return;
  }
  rmSync(build, { recursive: true, force: true });
}

/** @returns {{ok: boolean, output: string}} */
function buildFromSource(root, { tests = false } = {}) {
  let cmakeJs;
  try {
    cmakeJs = createRequire(path.join(root, 'package.json')).resolve('cmake-js/bin/cmake-js');
  } catch {
    return { ok: false, output: 'cmake-js is not installed\n' };
  }
  clearForeignBuild(root);
  const node = [process.execPath, cmakeJs];
  const built = runAll(
    [
      [...node, 'configure', '--directory', root, `--CDVERTEXQ_BUILD_TESTS=${tests ? 'ON' : 'OFF'}`],
      [...node, 'build', '--directory', root, '--parallel', String(os.availableParallelism())],
    ],
    root,
  );
  // What CMake found missing it would go on believing missing.
  if (!built.ok) rmSync(path.join(root, 'build', 'CMakeCache.txt'), { force: true });
  return built;
}

const REMEDIES = `The addon needs a C++17 compiler, CMake, and OpenBLAS with LAPACKE:
  Debian, Ubuntu   apt-get install libopenblas-dev liblapacke-dev pkg-config cmake g++ make
  Fedora, RHEL     dnf install openblas-devel pkgconf cmake gcc-c++ make
  macOS            xcode-select --install; brew install openblas cmake pkg-config
  Windows          Visual Studio's "Desktop development with C++" and CMake (winget install Kitware.CMake), and OpenBLAS:
                   unpack a release archive of github.com/OpenMathLib/OpenBLAS and set OpenBLAS_HOME to its folder
                   (vcpkg install openblas lacks LAPACKE)
`;

module.exports = { REMEDIES, addonPath, buildFromSource, loads };
