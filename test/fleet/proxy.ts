import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';

/** A way to a port that may be cut, slow, or closed. */
export interface Proxy {
  url: string;
  /** Ends all connections. */
  cut(): void;
  /** Milliseconds before anything goes on, either way. */
  delay: number;
  /** New connections are ended at once. */
  refuses: boolean;
}

/** `t`: a test, or who else ends it. */
export async function startProxy(t: Pick<ExecutionContext, 'teardown'>, to: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((from) => {
    if (proxy.refuses) {
      from.destroy();
      return;
    }
    const other = connect(to, '127.0.0.1');
    for (const [own, far] of [[from, other], [other, from]] as const) {
      sockets.add(own);
      own.on('error', () => {});
      own.on('close', () => {
        sockets.delete(own);
        far.destroy();
      });
      own.on('data', (bytes) => setTimeout(() => far.writable && far.write(bytes), proxy.delay));
    }
  }); // prettier-ignore
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const { port } = server.address() as AddressInfo;
  const proxy: Proxy = { url: `redis://127.0.0.1:${port}`, cut, delay: 0, refuses: false };
  t.teardown(() => {
    cut();
    server.close();
  });
  return proxy;
}
