import test from 'ava';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeLayer } from '../lib';
import { htmlReport } from '../lib/reports/html/html-report';
import { codeOf, warn, warningCodes } from '../lib/warning-codes';
import { runFake } from './cli/fake';
import { random } from './models/networks';
import { sampleCheckpointEvaluation } from './reports/checkpoint-samples';
import { sampleComparison, sampleEvaluation, sampleReport } from './reports/samples';
import { layer, sampleSensitivity } from './sensitivity/sample';

const few = warn('WARN_VERTEXQ_FEW_ROWS', 'few rows');

test('issue 21 item 6: every code that the sources warn with is in the table, and the other way round', (t) => {
  const found = new Set<string>();
  const lib = join(__dirname, '..', 'lib');
  for (const name of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts') || name === 'warning-codes.ts') continue;
    for (const [, code] of readFileSync(join(lib, name), 'utf8').matchAll(/'(WARN_VERTEXQ_[A-Z_]*[A-Z])'/g))
      found.add(code!);
  }
  t.deepEqual([...found].sort(), Object.keys(warningCodes).sort());
});

test('issue 21 item 6: the warnings of a run end with codes of the table', async (t) => {
  const [outFeatures, inFeatures] = [4, 32];
  const layer = { weight: random(outFeatures * inFeatures, 1), outFeatures, inFeatures };
  const { report } = await quantizeLayer({ ...layer, activations: random(8 * inFeatures, 2) });
  t.is(codeOf(report.warnings[0]!), 'WARN_VERTEXQ_FEW_ROWS');
  for (const warning of report.warnings) t.not(codeOf(warning), null, warning);
  t.is(codeOf('few rows'), null);
  t.is(codeOf('few rows [WARN_VERTEXQ_NOTHING]'), null);
});

test('issue 21 item 6: vertexq explain says what a warning means and what to do', async (t) => {
  const { cause, remedy } = warningCodes.WARN_VERTEXQ_FEW_ROWS;
  const one = await runFake(['explain', 'WARN_VERTEXQ_FEW_ROWS']);
  const head = 'WARN_VERTEXQ_FEW_ROWS (warning; exit code 1 with --strict)';
  t.is(one.stdout, `${head}\n  ${cause}\n  ${remedy}\n`);
  t.is((await runFake(['explain', 'few_rows'])).stdout, one.stdout);
  const all = (await runFake(['explain'])).stdout;
  for (const code of Object.keys(warningCodes)) t.true(all.includes(`\n${code} (`), code);
});

test('issue 21 item 6: the page of a report says what to do, once for each code', async (t) => {
  const page = await htmlReport(sampleReport({ warnings: [few, warn('WARN_VERTEXQ_FEW_ROWS', 'others')] }));
  t.true(page.includes('few rows [WARN_VERTEXQ_FEW_ROWS]'));
  t.is(page.split(warningCodes.WARN_VERTEXQ_FEW_ROWS.remedy).length - 1, 1);
});

test('issue 21 item 6: --strict fails with warnings of eval, compare and sensitivity, after their result', async (t) => {
  const sensitivity = sampleSensitivity([layer('a', 32, 1)]);
  const results = {
    evaluateModel: () => Promise.resolve(sampleEvaluation({ warnings: [few] })),
    evaluateCheckpoint: () => Promise.resolve(sampleCheckpointEvaluation({ warnings: [few] })),
    compareMethods: () => Promise.resolve(sampleComparison({ warnings: [few] })),
    measureSensitivity: () => Promise.resolve({ ...sensitivity, warnings: [few] }),
  };
  for (const args of [
    ['eval', 'in.onnx', 'out.onnx', '--data', 'a.npz'],
    ['eval', 'in.safetensors', 'out.safetensors', '--data', 'a.txt'],
    ['compare', 'in.onnx', '--calibration', 'a.npz'],
    ['sensitivity', 'in.onnx', '--calibration', 'a.npz'],
  ]) {
    t.is((await runFake(args, results)).code, 0, args[0]);
    const { code, stdout, stderr } = await runFake([...args, '--strict'], results);
    t.is(code, 1, args[0]);
    t.regex(stdout, /few rows \[WARN_VERTEXQ_FEW_ROWS\]/);
    t.regex(stderr, /--strict: 1 warning, the first: few rows \[WARN_\w+\] \[ERR_VERTEXQ_STRICT\]/);
  }
});
