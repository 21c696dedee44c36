import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { temporaryFolder } from '../files/temporary-folder';

/** A Redis of a test's own, on this machine alone. */
export interface TestRedis {
  url: string;
  port: number;
  folder: string;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  /** Starts it again, on the same port with what it had written. */
  start(): Promise<void>;
  client(): Redis;
}

/** A port that nobody listens at. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Whether someone listens at a port. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const found = await Promise.race([
    once(socket, 'connect').then(
      () => true,
      () => false,
    ),
    once(socket, 'close').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return found;
}

/** What a server speaks TLS with; `authority` signed its certificate, which is of `localhost`. */
export const certificates = Object.fromEntries(
  ['authority.crt', 'server.crt', 'server.key'].map((name) => [
    name.replace('.crt', ''),
    join(__dirname, '..', 'fixtures', 'tls', name),
  ]),
) as Record<'authority' | 'server' | 'server.key', string>;

/** Starts redis-server (apt: redis-server) in a folder of its own, until the test's end. `tls`: it answers to nothing else. */
export async function startRedis(
  t: ExecutionContext,
  more: readonly string[] = [],
  { tls = false } = {},
): Promise<TestRedis> {
  const folder = temporaryFolder(t);
  const port = await freePort();
  const secured = [
    ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no', '--tls-ca-cert-file'],
    ...[
      certificates.authority,
      '--tls-cert-file',
      certificates.server,
      '--tls-key-file',
      certificates['server.key'],
    ],
  ];
  const args = [
    ...(tls ? secured : ['--port', String(port)]),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
  ];
  const kept = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction'];
  let child: ChildProcess | undefined;
  const clients: Redis[] = [];
  const kill = async () => {
    const own = child;
    child = undefined;
    if (!own || own.exitCode !== null) return;
    own.kill('SIGKILL');
    await once(own, 'exit');
  };
  const start = async () => {
    child = spawn('redis-server', [...args, ...kept, ...more], { stdio: 'ignore' });
    for (let i = 0; !(await answers(port)); i++) {
      if (i > 200 || child.exitCode !== null) throw new Error('redis-server has not started');
      await setTimeout(50);
    }
  };
  t.teardown(async () => {
    for (const client of clients) client.disconnect();
    await kill();
  });
  await start();
  return {
    ...{ url: tls ? `rediss://localhost:${port}` : `redis://127.0.0.1:${port}`, port, folder, kill, start },
    client: () => {
      const client = new Redis({ port });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
  };
}
