import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { isErrorCode } from '../../error-codes';
import { checkOptions } from '../../options/table';
import { ended, listening } from '../http';
import { runStatus } from '../run-status';
import { defaultQueue } from '../submit-run';
import type { FleetPage, FleetStatus, ServeOptions, StatusOptions } from '../types';
import { page, policy } from './page';

/** Where it listens by default. */
const [defaultHost, defaultPort] = ['127.0.0.1', 9465];
/** Milliseconds for which an answer is given again, however many look; and of how many questions. */
const freshFor = 1000;
const mostKept = 64;

/**
 * Serves a page over HTTP that shows queues, runs, their layers and errors as they become: at `/`, and as JSON at `/status.json`. It only looks, and asks for no password:
 * by default it can be seen from this machine alone. It ends with `close`, or when the signal is aborted. Rejects with ERR_VERTEXQ_QUEUE where Redis cannot be used, or nothing can listen there.
 */
export async function serveFleet(options: ServeOptions = {}): Promise<FleetPage> {
  checkOptions('serveFleet', options);
  const { host = defaultHost, port = defaultPort, signal, redis } = options;
  const queues = [options.queue ?? defaultQueue].flat();
  const answers = new Answers({ ...(redis !== undefined && { redis }), ...(signal && { signal }) }, queues);
  await answers.of(null);
  const server = createServer((request, response) => {
    void answer(request, response, answers, host).catch(() => response.destroy());
  });
  const url = await listening(server, host, port, 'The page');
  const close = () => {
    signal?.removeEventListener('abort', close);
    ended(server);
  };
  signal?.addEventListener('abort', close);
  return { url: `${url}/`, close };
}

/** What was asked of Redis a moment ago is not asked again. */
class Answers {
  private readonly kept = new Map<string, { at: number; answer: Promise<FleetStatus> }>();

  constructor(
    private readonly options: StatusOptions,
    private readonly queues: readonly string[],
  ) {}

  /** How all queues are; or one run of one of them, with its layers. */
  of(asked: { queue: string; run: string } | null): Promise<FleetStatus> {
    const key = asked ? `${asked.queue} ${asked.run}` : '';
    const now = performance.now();
    const known = this.kept.get(key);
    if (known && now - known.at < freshFor) return known.answer;
    const answer = runStatus({ ...this.options, queue: this.queues, ...asked });
    answer.catch(() => {}); // whoever asked is told
    this.kept.delete(key);
    if (this.kept.size >= mostKept) this.kept.delete(this.kept.keys().next().value!);
    this.kept.set(key, { at: now, answer });
    return answer;
  }

  isKnown(queue: string | null): queue is string {
    return queue !== null && this.queues.includes(queue);
  }
}

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  answers: Answers,
  host: string,
): Promise<void> {
  const send = (status: number, type: string, text: string) =>
    void response
      .writeHead(status, { ...headers, 'content-type': `${type}; charset=utf-8` })
      .end(request.method === 'HEAD' ? undefined : text);
  const sendError = (status: number, message: string, code?: string) =>
    send(status, 'application/json', JSON.stringify({ error: { message, ...(code && { code }) } }));
  if (!isOurs(request.headers.host, host)) return sendError(403, `This page is not at ${JSON.stringify(request.headers.host ?? '')}`); // prettier-ignore
  if (request.method !== 'GET' && request.method !== 'HEAD') return sendError(405, 'It only looks: GET');
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  if (pathname === '/') return send(200, 'text/html', page);
  if (pathname !== '/status.json') return sendError(404, 'There are / and /status.json');
  const [queue, run] = [searchParams.get('queue'), searchParams.get('run')];
  const isRun = run !== null && /^[0-9a-f]{32}$/.test(run) && answers.isKnown(queue);
  if (run !== null && !isRun) return sendError(400, 'Expected a queue that is shown here, and a run of 32 hexadecimal digits'); // prettier-ignore
  try {
    const found = await answers.of(isRun && queue !== null ? { queue, run } : null);
    send(200, 'application/json', JSON.stringify(found));
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    sendError(code === 'ERR_VERTEXQ_JOB' ? 404 : 503, message, isErrorCode(code) ? code : undefined);
  }
}

/** Whether a request is for this server by a name of its own: another site may have its name lead here, and would read what is shown to who looks at it. */
function isOurs(given: string | undefined, host: string): boolean {
  const name = /^(?:\[([\da-f:.]+)\]|([^:]*))(?::\d+)?$/i.exec(given ?? '');
  const asked = (name?.[1] ?? name?.[2] ?? '').toLowerCase();
  // Where it is open to a network, names that others have for it are not known.
  if (host === '0.0.0.0' || host === '::') return true;
  return asked === host.toLowerCase() || asked === 'localhost' || isIPv4(asked) || isIPv6(asked);
}
