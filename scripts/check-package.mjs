// Checks what would be published: packs it, looks at the tarball with publint and attw, then installs it into an empty
// project, which compiles the addon from the packed sources, and tries it there.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const temp = mkdtempSync(path.join(os.tmpdir(), 'vertexq-package-'));

function run(cwd, command, ...args) {
  console.log(`$ ${[command, ...args].join(' ')}`);
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`${command} failed`);
}

const tool = (name) => path.join(root, 'node_modules', '.bin', name);

try {
  run(root, 'npm', 'pack', '--silent', '--pack-destination', temp);
  const tarball = readdirSync(temp).find((name) => name.endsWith('.tgz'));
  run(temp, tool('publint'), tarball, '--strict');
  run(temp, tool('attw'), tarball);

  writeFileSync(
    path.join(temp, 'package.json'),
    JSON.stringify({ name: 'consumer', version: '1.0.0', private: true }),
  );
  run(temp, 'npm', 'install', '--no-audit', '--no-fund', '--silent', `./${tarball}`);
  copyFileSync(path.join(root, 'scripts', 'smoke.cjs'), path.join(temp, 'smoke.cjs'));
  run(temp, process.execPath, 'smoke.cjs');
  run(temp, path.join(temp, 'node_modules', '.bin', 'vertexq'), '--version');
} catch (error) {
  console.error(`check:package: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}
