import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { environment } from '../../lib/environment';

const addon = join(__dirname, '../../build/Release/vertexq.node');

/** The kernels OpenBLAS runs in a process of its own, in the main thread or first loaded by a Worker. */
function coreOf(coreType: string | undefined, worker = false): string {
  const env = { ...process.env };
  delete env.OPENBLAS_CORETYPE;
  const body = `console.log(require(${JSON.stringify(addon)}).blasInfo().core, process.env.OPENBLAS_CORETYPE)`;
  const script = worker
    ? `new (require('node:worker_threads').Worker)(${JSON.stringify(body)}, { eval: true })`
    : body;
  return execFileSync(process.execPath, ['-e', script], {
    env: coreType === undefined ? env : { ...env, OPENBLAS_CORETYPE: coreType },
    encoding: 'utf8',
  }).trim();
}

const flags = process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const linuxTest =
  process.arch === 'x64' && /\bavx2\b/.test(flags) && /\bfma\b/.test(flags) ? test : test.skip;

linuxTest(
  'on a processor with AVX2 OpenBLAS runs kernels for it, also where it does not know the processor',
  (t) => {
    const core = coreOf(undefined);
    // The variable that chooses them is not left behind.
    t.regex(core, /^\S+ undefined$/);
    t.notRegex(core, /^Prescott/);
    t.is(coreOf(undefined, true), core);
    if (process.env.OPENBLAS_CORETYPE === undefined) t.is(`${environment().blasCore} undefined`, core);
  },
);

linuxTest('OPENBLAS_CORETYPE chooses the kernels where it is set', (t) => {
  for (const name of ['Prescott', 'Haswell']) {
    const core = coreOf(name);
    // A build may lack a set, and be of one alone.
    if (!core.startsWith(name)) t.log(`${name} is not in this build of OpenBLAS, which runs ${core}`);
    else t.is(core, `${name} ${name}`);
    t.is(coreOf(name, true), core);
  }
});
