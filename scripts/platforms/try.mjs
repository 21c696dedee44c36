// node scripts/platforms/try.mjs linux-x64-gnu packed: installs vertexq and the package of a platform from a folder of tarballs into an empty
// project, without install scripts, and has it quantize. Needs Node and npm alone.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [target, from] = process.argv.slice(2);
const scripts = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const temp = mkdtempSync(path.join(os.tmpdir(), 'vertexq-try-'));

/** The tarball whose name begins so, before its version. */
function tarball(name) {
  const found = readdirSync(from).find((file) => new RegExp(`^${name}-\\d.*\\.tgz$`).test(file));
  if (!found) throw new Error(`${from} has no tarball of ${name}`);
  return path.resolve(from, found);
}

function run(command, ...args) {
  execFileSync(command, args, { cwd: temp, stdio: 'inherit', shell: process.platform === 'win32' });
}

try {
  writeFileSync(
    path.join(temp, 'package.json'),
    JSON.stringify({ name: 'consumer', version: '1.0.0', private: true }),
  );
  // What is not published yet is not asked for: the platform's package is named itself.
  run(
    'npm',
    'install',
    '--ignore-scripts',
    '--omit=optional',
    tarball('vertexq'),
    tarball(`vertexq-${target}`),
  );
  copyFileSync(path.join(scripts, 'smoke.cjs'), path.join(temp, 'smoke.cjs'));
  run('node', 'smoke.cjs');
  run('node', path.join('node_modules', 'vertexq', 'dist', 'cli', 'main.js'), 'doctor');
} finally {
  rmSync(temp, { recursive: true, force: true });
}
