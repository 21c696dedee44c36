import { createServer, type Server } from 'node:http';
import type * as Prometheus from 'prom-client';
import { optionalPackage } from '../optional-package';
import { ended, listening } from './http';
import type { FleetEvent } from './types';

/** Seconds that pieces of work take. */
const buckets = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600];

/** What a worker does, as Prometheus reads it, over HTTP. */
export class Metrics {
  private constructor(
    private readonly server: Server,
    /** Where it is read. */
    readonly url: string,
    /** Counts what a worker tells. */
    readonly count: (event: FleetEvent) => void,
  ) {}

  /** Rejects with ERR_VERTEXQ_QUEUE where prom-client is not installed, or nothing can listen there. */
  static async serve(host: string, port: number): Promise<Metrics> {
    const client = optionalPackage('prom-client', 'ERR_VERTEXQ_QUEUE', 'Metrics', 'prom-client@15.1.3') as typeof Prometheus; // prettier-ignore
    const registry = new client.Registry();
    const count = counting(client, registry);
    const server = createServer((request, response) => {
      const isAsked = request.method === 'GET' && request.url === '/metrics';
      if (!isAsked) {
        response.writeHead(404).end('/metrics\n');
        return;
      }
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    });
    // It ends with the worker, whoever is still reading.
    server.unref();
    return new Metrics(server, `${await listening(server, host, port, 'Metrics')}/metrics`, count);
  }

  close(): void {
    ended(this.server);
  }
}

function counting(client: typeof Prometheus, registry: Prometheus.Registry): (event: FleetEvent) => void {
  const registers = [registry];
  client.collectDefaultMetrics({ register: registry });
  const jobs = new client.Counter({
    name: 'vertexq_jobs_total',
    help: 'Pieces of work that were taken, by what became of them',
    labelNames: ['queue', 'outcome'],
    registers,
  });
  const bytes = new client.Counter({
    name: 'vertexq_input_bytes_total',
    help: 'Bytes of inputs that units were made of',
    registers,
  });
  const units = new client.Counter({ name: 'vertexq_units_total', help: 'Units that were made', registers });
  const active = new client.Gauge({
    name: 'vertexq_jobs_active',
    help: 'Pieces of work being done',
    registers,
  });
  const trouble = new client.Counter({
    name: 'vertexq_queue_errors_total',
    help: 'Times that Redis could not be used',
    registers,
  });
  const seconds = new client.Histogram({
    name: 'vertexq_job_seconds',
    help: 'How long pieces of work that were done took',
    buckets,
    registers,
  });
  return (event) => {
    const { queue = '' } = event;
    const outcome = /^job-(done|failed|refused|returned|stalled)$/.exec(event.event)?.[1];
    if (event.event === 'queue-error') trouble.inc();
    if (event.event === 'job-started') active.inc();
    if (!outcome) return;
    jobs.inc({ queue, outcome });
    // One that was taken over had been another worker's; what is no job at all was not begun.
    if (outcome !== 'stalled' && event.piece !== undefined) active.dec();
    if (outcome !== 'done') return;
    bytes.inc(event.bytes ?? 0);
    units.inc(event.units?.done ?? 0);
    seconds.observe(event.seconds ?? 0);
  };
}
