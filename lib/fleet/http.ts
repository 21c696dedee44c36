import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { VertexqError } from '../errors';

/** Has a server listen. Resolves to its URL, without a path; rejects with ERR_VERTEXQ_QUEUE where nothing can listen there. `what`: as "Metrics". */
export async function listening(server: Server, host: string, port: number, what: string): Promise<string> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    throw new VertexqError(
      'ERR_VERTEXQ_QUEUE',
      `${what} cannot be served at ${host}:${port}: ${(cause as Error).message}`,
      { cause },
    );
  }
  const { port: own } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${own}`;
}

/** Ends a server, whoever is still reading. */
export function ended(server: Server): void {
  server.close();
  server.closeAllConnections();
}
