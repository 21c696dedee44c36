// Builds the addon with node-gyp and tries it, in a copy of the tree: node-gyp and cmake-js both use build/.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { addonPath, buildWithNodeGyp } = createRequire(import.meta.url)('./native-build.cjs');

const copy = mkdtempSync(path.join(os.tmpdir(), 'vertexq-gyp-'));
try {
  for (const name of ['native', 'scripts', 'dist', 'binding.gyp', 'package.json']) {
    cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'), 'junction');

  const { ok, output } = buildWithNodeGyp(copy);
  if (!ok) throw new Error(output);
  const smoke = spawnSync(process.execPath, [path.join(copy, 'scripts', 'smoke.cjs')], {
    cwd: copy,
    stdio: 'inherit',
  });
  if (smoke.status !== 0) throw new Error(`${addonPath(copy)} was built but does not work`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
