// Starts a Redis to try queues with: on this machine alone, its data in .cache/redis. Further arguments are redis-server's.
// `npm run redis -- --port 6380`. Ctrl-C ends it; what was queued is there again at the next start.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages, onPath } from './system-packages.mjs';

const folder = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), '.cache', 'redis');

function fail(message) {
  console.error(`redis: ${message}`);
  process.exit(1);
}

function run(command, args) {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  return { ok: done.status === 0, output: `${done.stdout ?? ''}${done.stderr ?? ''}${done.error ?? ''}` };
}

if (!onPath('redis-server')) {
  if (!onPath('apt-get')) fail('redis-server is not installed (Debian: the package redis-server).');
  const { ok, output } = installPackages(['redis-server'], run, fail);
  if (!ok) fail(output);
}
mkdirSync(folder, { recursive: true });
// All that is queued is written down before it is answered: a machine that fails loses nothing.
const own = ['--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'];
const kept = ['--appendfsync', 'always', '--maxmemory-policy', 'noeviction'];
const child = spawn('redis-server', [...own, ...kept, ...process.argv.slice(2)], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
