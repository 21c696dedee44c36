// Where OpenBLAS and LAPACKE are, for setup, which looks for what is missing, and for binding.gyp: `node scripts/blas-flags.cjs include` prints folders of headers,
// `... libs` what the linker is told. CMake looks for itself, more thoroughly: cmake/openblas.cmake.
'use strict';

const { execFileSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const path = require('node:path');

const HOMES = [
  process.env.OpenBLAS_HOME,
  process.env.OPENBLAS_HOME,
  // Homebrew links its openblas nowhere else, and pkg-config does not look here by itself.
  '/opt/homebrew/opt/openblas',
  '/usr/local/opt/openblas',
].filter((home) => home && existsSync(home));

function pkgConfig(...args) {
  try {
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    return execFileSync('pkg-config', args, options).trim().split(/\s+/).filter(Boolean);
  } catch {
    return undefined;
  }
}

/** Folders to look for cblas.h and lapacke.h in, besides the compiler's own. */
function includeDirs() {
  if (HOMES.length > 0) return [path.join(HOMES[0], 'include')];
  const flags = [
    ...(pkgConfig('--cflags-only-I', 'openblas') ?? []),
    ...(pkgConfig('--cflags-only-I', 'lapacke') ?? []),
  ];
  const dirs = [...flags.map((flag) => flag.slice(2)), '/usr/include/openblas'];
  return [...new Set(dirs)].filter((dir) => existsSync(dir));
}

/** OpenBLAS stays first: cmake/openblas.cmake says why. */
function libs() {
  if (process.platform === 'win32') {
    return HOMES.length > 0 ? [path.join(HOMES[0], 'lib', 'libopenblas.lib')] : ['libopenblas.lib'];
  }
  if (HOMES.length > 0) {
    const dir = path.join(HOMES[0], 'lib');
    return [`-L${dir}`, `-Wl,-rpath,${dir}`, '-lopenblas'];
  }
  return [...(pkgConfig('--libs', 'openblas') ?? ['-lopenblas']), ...(pkgConfig('--libs', 'lapacke') ?? [])];
}

module.exports = { includeDirs };

if (require.main === module) {
  console.log((process.argv[2] === 'libs' ? libs() : includeDirs()).join('\n'));
}
