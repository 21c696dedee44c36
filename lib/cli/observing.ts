import type { Command } from 'commander';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { VertexqError } from '../errors';
import { Metrics } from '../fleet/metrics';
import type { FleetEvent } from '../fleet/types';
import { refuse } from '../options/messages';
import type { Context } from './context';
import { reading } from './flags';

/** Where a worker's events go besides. */
export interface ObservingFlags {
  events?: string;
  metrics?: { host: string; port: number };
  json?: boolean;
}

export const addObserving = (command: Command): Command =>
  command
    .option('--events <file>', 'all that happens, a line of JSON each, at the end of a file; - for stdout')
    .option(
      '--metrics <[host:]port>',
      'metrics for Prometheus at /metrics (default host: 127.0.0.1)',
      (text) => reading(() => placeIn(text)),
    );

function placeIn(text: string): { host: string; port: number } {
  const [, host = '127.0.0.1', port] = /^(?:\[?([\w.:-]+?)\]?:)?(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new RangeError('Expected a port, or a host and a port, such as 9464 or 0.0.0.0:9464.');
  return { host, port: Number(port) };
}

/** Runs `use` with what takes events. */
export async function observed<Result>(
  { stdout, stderr }: Context,
  { events, metrics, json = false }: ObservingFlags,
  use: (take: (event: FleetEvent) => void) => Promise<Result>,
): Promise<Result> {
  if (events === '-' && json)
    refuse([], '--json and --events - would both write to stdout: give --events a file');
  const server = metrics && (await Metrics.serve(metrics.host, metrics.port));
  if (server) stderr.write(`metrics: ${server.url}\n`);
  const file = events === undefined || events === '-' ? undefined : createWriteStream(events, { flags: 'a' });
  let failure: Error | undefined;
  file?.on('error', (error) => (failure ??= error));
  const requireWritten = () => {
    if (failure)
      throw new VertexqError('ERR_VERTEXQ_FILE', `${events} cannot be written: ${failure.message}`, {
        cause: failure,
      });
  };
  try {
    return await use((event) => {
      requireWritten();
      server?.count(event);
      const line = `${JSON.stringify(event)}\n`;
      if (events === '-') stdout.write(line);
      else file?.write(line);
    });
  } finally {
    server?.close();
    if (file) {
      file.end();
      await finished(file).catch(() => {}); // told below
    }
    requireWritten();
  }
}
