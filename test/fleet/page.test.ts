import test from 'ava';
import { request } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { type FleetStatus, runWorker, serveFleet, submitRun } from '../../lib/index';
import { plannedModel } from '../checkpoints/sharded/folders';
import { runWhole } from '../cli/library';
import { freePort, startRedis } from './redis';

/** An answer to a request that says whom it believes to ask. */
async function asked(url: string, host: string, method = 'GET') {
  return new Promise<{ status: number; text: string; policy: string }>((resolve, reject) => {
    const sent = request(url, { method, headers: { host } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('end', () =>
        resolve({
          ...{ status: answer.statusCode!, text },
          policy: String(answer.headers['content-security-policy']),
        }),
      );
    });
    sent.on('error', reject).end();
  });
}

test('serve: a page, and how queues, runs and layers are, for those who call it by its name', async (t) => {
  const server = await startRedis(t);
  const { url } = server;
  const { folder, file } = await plannedModel(t);
  const { run } = await submitRun(file, { redis: url, parts: 3 });
  const page = await serveFleet({ redis: url, port: 0 });
  t.teardown(() => page.close());
  const read = async (query = '') =>
    (await (await fetch(`${page.url}status.json${query}`)).json()) as FleetStatus;
  const [before] = (await read()).queues;
  t.like(before!.runs[0], { run, state: 'waiting', parts: { count: 3, done: 0 } });
  t.is(before!.runs[0]!.layers, undefined);
  await runWorker({ redis: url, root: folder, untilEmpty: true });
  await setTimeout(1100); // an answer is given again for a second
  const [done] = (await read(`?queue=vertexq&run=${run}`)).queues;
  const { layers = [], state } = done!.runs[0]!;
  t.is(state, 'done');
  t.true(layers.length > 1 && layers.every(({ error, isFitted }) => error > 0 && error < 1 && !isFitted));
  t.deepEqual(layers.map(({ error }) => error), layers.map(({ error }) => error).sort((a, b) => b - a)); // prettier-ignore
  const told = await runWhole(['status', '--redis', url, '--run', run]);
  t.true(told.stdout.includes(layers[0]!.name));

  const own = new URL(page.url).host;
  const shown = await asked(page.url, own);
  t.is(shown.status, 200);
  t.regex(shown.policy, /^default-src 'none'; .*connect-src 'self'/);
  for (const [path, host, method, status] of [
    ['', 'elsewhere.example:80', 'GET', 403],
    ['', own, 'POST', 405],
    ['other', own, 'GET', 404],
    [`status.json?queue=other&run=${run}`, own, 'GET', 400],
    ['status.json?queue=vertexq&run=..%2f..', own, 'GET', 400],
    [`status.json?queue=vertexq&run=${'0'.repeat(32)}`, own, 'GET', 404],
    ['', own, 'HEAD', 200],
    ['', `localhost:${new URL(page.url).port}`, 'GET', 200],
  ] as const)
    t.is((await asked(page.url + path, host, method)).status, status, `${method} ${path} of ${host}`);
  await setTimeout(1100);
  await server.kill();
  const away = await asked(`${page.url}status.json`, own);
  t.is(away.status, 503);
  t.regex(away.text, /ERR_VERTEXQ_QUEUE/);
});

test('serve: the command tells where, and ends when it is told to', async (t) => {
  const { url } = await startRedis(t);
  const port = await freePort();
  const end = new AbortController();
  const ran = runWhole(['serve', '--redis', url, '--port', String(port)], { signal: end.signal });
  let page = '';
  for (; page === ''; await setTimeout(20))
    page = await fetch(`http://127.0.0.1:${port}/`)
      .then((answer) => answer.text())
      .catch(() => '');
  t.regex(page, /<title>vertexq: queues<\/title>/);
  const other = await runWhole(['serve', '--redis', url, '--port', String(port)]);
  t.is(other.code, 1);
  t.regex(other.stderr, /The page cannot be served at 127\.0\.0\.1:\d+: .*EADDRINUSE.*\[ERR_VERTEXQ_QUEUE\]/);
  end.abort();
  t.like(await ran, { code: 0, stdout: `http://127.0.0.1:${port}/\n` });
  await t.throwsAsync(fetch(`http://127.0.0.1:${port}/`));
});

test('what a queue says of layers is looked at before it is told', async (t) => {
  const server = await startRedis(t);
  const { url } = server;
  const client = server.client();
  const { folder, file } = await plannedModel(t);
  const { run } = await submitRun(file, { redis: url, parts: 2 });
  await runWorker({ redis: url, root: folder, untilEmpty: true });
  const page = await serveFleet({ redis: url, port: 0 });
  t.teardown(() => page.close());
  const key = `vertexq:vertexq:${run}:processed`;
  const [part] = Object.keys(await client.hgetall(key));
  const good = { name: '<img src=x>', error: 1, signal: 4, isFitted: false };
  const bad = [null, 7, { ...good, error: 'x' }, { ...good, error: -1 }, { ...good, signal: 0 }, { ...good, name: 'n'.repeat(2000) }, { ...good, isFitted: 1 }]; // prettier-ignore
  await client.hset(key, part!, JSON.stringify({ layers: [...bad, good] }));
  const told = (await (await fetch(`${page.url}status.json?queue=vertexq&run=${run}`)).json()) as FleetStatus;
  const names = told.queues[0]!.runs[0]!.layers!.map(({ name }) => name);
  t.true(names.includes('<img src=x>'));
  t.false(names.some((name) => name.startsWith('nnn')));
  await client.hset(key, part!, JSON.stringify('nothing'));
  await setTimeout(1100);
  t.is((await fetch(`${page.url}status.json?queue=vertexq&run=${run}`)).status, 200);
});
