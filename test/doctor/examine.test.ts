import test from 'ava';
import { join } from 'node:path';
import { examine, nodeFinding, packageFinding, temporaryFinding } from '../../lib/doctor/examine';
import type { Finding } from '../../lib/doctor/types';
import { diagnosisTable } from '../../lib/reports/diagnosis';
import { runFake } from '../cli/fake';
import { temporaryFolder } from '../files/temporary-folder';

test('here all that is needed is there', async (t) => {
  const { ok, findings } = await examine();
  t.true(ok, JSON.stringify(findings));
  t.deepEqual(
    findings.map(({ id }) => id),
    ['node', 'addon', 'kernels', 'cpus', 'onnxruntime', 'sharp', 'tokenizers', 'memory', 'temporary'],
  );
  t.regex(findings.find(({ id }) => id === 'addon')!.says, /vertexq\.node$/);
  t.regex(findings.find(({ id }) => id === 'onnxruntime')!.says, /^onnxruntime-node \d+\.\d+/);
  t.is(findings.find(({ id }) => id === 'tokenizers')!.state, 'ok');
});

test('each thing that is not as it should be comes with a remedy', async (t) => {
  t.is(nodeFinding('20.17.0').state, 'ok');
  t.is(nodeFinding('24.1.0').state, 'ok');
  for (const old of ['20.16.9', '18.20.1']) {
    const { state, remedy } = nodeFinding(old);
    t.is(state, 'wrong');
    t.regex(remedy!, /20\.17/);
  }
  const absent = packageFinding('onnxruntime', 'networks need it', 'npm install it', () => {
    throw new Error('not there');
  });
  t.deepEqual(absent, {
    id: 'onnxruntime',
    state: 'missing',
    says: 'networks need it: not there',
    remedy: 'npm install it',
  });
  const nowhere = await temporaryFinding(join(temporaryFolder(t), 'not-there'));
  t.is(nowhere.state, 'wrong');
  t.regex(nowhere.remedy!, /TMPDIR/);
});

const findings: Finding[] = [
  { id: 'node', state: 'ok', says: 'Node 20.17.0', remedy: null },
  { id: 'addon', state: 'wrong', says: 'not loaded', remedy: 'build it' },
];
const diagnosis = { vertexq: '0.1.0', platform: 'linux-x64', ok: false, findings };

test('the table has what to do below what is wrong', (t) => {
  const lines = diagnosisTable(diagnosis).split('\n');
  t.is(lines[0], 'vertexq 0.1.0 on linux-x64');
  t.regex(lines[2]!, /^ok +Node +Node 20\.17\.0$/);
  t.regex(lines[3]!, /^wrong +native addon +not loaded$/);
  t.regex(lines[4]!, /^ +→ build it$/);
});

test('vertexq doctor: its exit code says whether anything is wrong, --json all of it', async (t) => {
  const bad = await runFake(['doctor', '--json'], { examine: () => Promise.resolve(diagnosis) });
  t.is(bad.code, 1);
  t.deepEqual(JSON.parse(bad.stdout), diagnosis);
  t.regex(bad.stderr, /vertexq cannot work here: addon \[ERR_VERTEXQ_DOCTOR\]/);
  const good = await runFake(['doctor'], {
    examine: () => Promise.resolve({ ...diagnosis, ok: true, findings: findings.slice(0, 1) }),
  });
  t.is(good.code, 0);
  t.regex(good.stdout, /Node 20\.17\.0/);
});
