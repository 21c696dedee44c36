import test from 'ava';
import { addressOf, withoutSecrets } from '../../lib/fleet/address';
import { runStatus, runWorker, submitRun } from '../../lib/index';
import { runWhole } from '../cli/library';
import { plannedModel } from '../checkpoints/sharded/folders';
import { freePort, startRedis } from './redis';

const secret = 'p@ss w/ord';
const encoded = encodeURIComponent(secret);

test('an address comes from the option, else the environment, else it is this machine', (t) => {
  t.like(addressOf(undefined, {}), { host: '127.0.0.1', port: 6379, db: 0, tls: false, password: undefined });
  const env = { VERTEXQ_REDIS_URL: `rediss://me:${encoded}@example.org:6380/2` };
  t.deepEqual(addressOf(undefined, env), {
    ...{ host: 'example.org', port: 6380, db: 2, username: 'me', password: secret, tls: true },
    shown: 'rediss://example.org:6380/2',
  });
  t.like(addressOf('redis://[::1]', { ...env, VERTEXQ_REDIS_PASSWORD: 'other' }), {
    ...{ host: '::1', port: 6379, password: 'other', shown: 'redis://[::1]:6379' },
  });
});

test('an address that is none is refused, and nothing that may be secret is repeated', (t) => {
  for (const [given, message] of [
    [`redis//:${secret}@host`, /to be a URL such as redis:\/\/host:6379\/0/],
    [`http://:${encoded}@host`, /not one of "http:"/],
    [`redis://:${encoded}@host/x`, /after the host there may be the number of a database/],
    [`redis://:${encoded}@host?x=${encoded}`, /and nothing else/],
    [`redis://:${encoded}@`, /URL/],
    [`redis://:%zz${encoded}@host`, /percent-encoded/],
  ] as const) {
    const error = t.throws(() => addressOf(given, {}), { instanceOf: RangeError, message });
    t.false(error.message.includes(secret) || error.message.includes(encoded), error.message);
  }
  t.is(withoutSecrets(`a ${secret} b ${encoded}`, { password: secret }), 'a *** b ***');
});

test('a password: right it lets in, wrong it is told of without being repeated; --redis takes none', async (t) => {
  const { port } = await startRedis(t, ['--requirepass', secret]);
  const url = (password: string) => `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`;
  t.is((await runStatus({ redis: url(secret) })).redis, `redis://127.0.0.1:${port}`);
  const { folder, file } = await plannedModel(t);
  for (const [redis, message] of [
    [url(`not ${secret}`), /Redis at redis:\/\/127\.0\.0\.1:\d+: .*WRONGPASS/],
    [`redis://127.0.0.1:${port}`, /NOAUTH/],
  ] as const) {
    const error = await t.throwsAsync(submitRun(file, { redis }), { code: 'ERR_VERTEXQ_QUEUE', message });
    t.false(/not p@ss|not%20p/.test(error.message), error.message);
    await t.throwsAsync(runWorker({ redis, root: folder }), { code: 'ERR_VERTEXQ_QUEUE' });
  }
  const { code, stderr } = await runWhole(['status', '--redis', url(secret)], {
    env: { VERTEXQ_DEBUG: '1' },
  });
  t.is(code, 2);
  t.regex(stderr, /--redis has a password in it.*VERTEXQ_REDIS_PASSWORD/);
  t.false(stderr.includes(secret) || stderr.includes(encoded));
});

test('a Redis that is not there, or throws away what it is given, is told of within seconds', async (t) => {
  const { file } = await plannedModel(t);
  const redis = `redis://127.0.0.1:${await freePort()}`;
  const started = performance.now();
  for (const ask of [submitRun(file, { redis }), runStatus({ redis }), runWorker({ redis, root: '.' })])
    await t.throwsAsync(ask, { code: 'ERR_VERTEXQ_QUEUE', message: /^Redis at redis:.*: .*ECONNREFUSED/ });
  t.true(performance.now() - started < 30_000);
  const server = await startRedis(t);
  await server.client().config('SET', 'maxmemory-policy', 'allkeys-lru');
  await t.throwsAsync(runStatus({ redis: server.url }), { code: 'ERR_VERTEXQ_QUEUE', message: /maxmemory-policy is "allkeys-lru": expected "noeviction"/ }); // prettier-ignore
});
