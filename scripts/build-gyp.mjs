// The second way to build the addon: with node-gyp, and tried, in a copy of the tree, for node-gyp and cmake-js both use build/.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** Node's headers lie beside many installations; without them node-gyp downloads them. */
function nodeDirFlag() {
  const prefix = path.dirname(path.dirname(process.execPath));
  return existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function run(cwd, script, ...args) {
  // Told last, it is what counts: that the same sources are right when optimised, the build with CMake shows.
  const env = { ...process.env, CXXFLAGS: '-O1' };
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd, env, stdio: 'inherit' });
  if (status !== 0) throw new Error(`${path.basename(script)} ended with ${status}`);
}

const copy = mkdtempSync(path.join(os.tmpdir(), 'vertexq-gyp-'));
try {
  for (const name of ['native', 'scripts', 'dist', 'binding.gyp', 'package.json'])
    cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'), 'junction');
  mkdirSync(path.join(copy, 'build'));
  const jobs = `--jobs=${os.availableParallelism()}`;
  run(
    copy,
    require.resolve('node-gyp/bin/node-gyp.js'),
    'rebuild',
    '--loglevel=error',
    ...nodeDirFlag(),
    jobs,
  );
  run(copy, path.join(copy, 'scripts', 'smoke.cjs'));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
