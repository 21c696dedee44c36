import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
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

/** Starts redis-server (apt: redis-server) in a folder of its own, until the test's end. */
export async function startRedis(t: ExecutionContext, more: readonly string[] = []): Promise<TestRedis> {
  const folder = temporaryFolder(t);
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
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
    ...{ url: `redis://127.0.0.1:${port}`, port, folder, kill, start },
    client: () => {
      const client = new Redis({ port });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
  };
}
