import test from 'ava';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetStatus, quantizeCheckpoint } from '../../lib/index';
import { contents, plannedModel } from '../checkpoints/sharded/folders';
import { typescript } from '../typescript';
import { certificates, startRedis } from './redis';

const main = join(__dirname, '..', '..', 'lib', 'cli', 'main.ts');
const password = 'f#r$t:/ecret';

test('issue 22 item 3: by TLS and with a password from the environment: a run is submitted, done and followed, and no word has the password', async (t) => {
  const { url } = await startRedis(t, ['--requirepass', password], { tls: true });
  const { folder, input, output, file } = await plannedModel(t);
  mkdirSync(join(folder, 'whole'));
  await quantizeCheckpoint(input, join(folder, 'whole', 'out'), { groupSize: 32 });
  let said = '';
  const call = (env: NodeJS.ProcessEnv, ...args: string[]) => {
    const own = { ...process.env, NODE_EXTRA_CA_CERTS: certificates.authority, VERTEXQ_REDIS_PASSWORD: password, VERTEXQ_REDIS_URL: url, ...env }; // prettier-ignore
    const { status, stdout, stderr } = spawnSync(process.execPath, [typescript, main, ...args], {
      env: own,
      encoding: 'utf8',
      timeout: 120_000,
    });
    said += stdout + stderr;
    return { status, stdout, stderr };
  };

  const unknown = call({ NODE_EXTRA_CA_CERTS: '' }, 'status');
  t.is(unknown.status, 1, unknown.stderr);
  t.regex(unknown.stderr, /Redis at rediss:\/\/localhost:\d+: .*certificate.* \[ERR_VERTEXQ_QUEUE\]/);
  const other = call({ VERTEXQ_REDIS_URL: url.replace('localhost', '127.0.0.1') }, 'status');
  t.is(other.status, 1);
  t.regex(other.stderr, /IP: 127\.0\.0\.1 is not in the cert's list/);
  const plain = call({ VERTEXQ_REDIS_URL: url.replace('rediss', 'redis') }, 'status');
  t.is(plain.status, 1);
  const stranger = call({ VERTEXQ_REDIS_PASSWORD: 'guessed' }, 'status');
  t.is(stranger.status, 1);
  t.regex(stranger.stderr, /WRONGPASS|NOAUTH/);

  const events = join(folder, 'events.jsonl');
  t.is(call({}, 'submit', file, '--parts', '2').status, 0);
  const worked = call({}, 'worker', '--root', folder, '--until-empty', '--threads', '1', '--events', events);
  t.is(worked.status, 0, worked.stderr);
  const status = call({}, 'status', '--json');
  t.like((JSON.parse(status.stdout) as FleetStatus).queues[0]!.runs[0], { state: 'done', progress: 1 });
  t.deepEqual(contents(output), contents(join(folder, 'whole', 'out')));
  said += readFileSync(events, 'utf8');
  t.true(said.includes('job-done'));
  for (const secret of [password, encodeURIComponent(password), 'guessed']) t.false(said.includes(secret));
});
