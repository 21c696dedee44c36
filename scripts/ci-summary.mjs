// Prints the last line of CI: how many tests passed and failed, `N passed, N failed`.
// Usage: ci-summary.mjs <what `npm test -- --tap` printed> <its exit status> <number of other steps that failed>
// Exits with 1 if anything failed, or if the tests' own totals are not there: a run that broke off is no success.
import { readFileSync } from 'node:fs';

const [logPath, testsStatus, failedSteps] = process.argv.slice(2);
let log = '';
try {
  log = readFileSync(logPath, 'utf8');
} catch {
  // the tests did not start; counted below
}

/** The last match of a line, as numbers. */
const totals = (pattern) => [...log.matchAll(pattern)].at(-1)?.slice(1).map(Number);

const ctest = totals(/^\d+% tests passed, (\d+) tests failed out of (\d+)$/gm);
const ava = totals(/^# pass (\d+)(?:\n# skip \d+)?\n# fail (\d+)$/gm);

let passed = 0;
let failed = 0;
if (ctest) {
  passed += ctest[1] - ctest[0];
  failed += ctest[0];
}
if (ava) {
  passed += ava[0];
  failed += ava[1];
}
if (!ctest || !ava) console.log(`The ${ctest ? 'JavaScript' : 'native'} tests did not come to their end.`);
if (failed === 0 && testsStatus !== '0')
  console.log(`No test failed, yet npm test ended with status ${testsStatus}.`);
if (failed === 0 && (!ctest || !ava || testsStatus !== '0')) failed = 1;
failed += Number(failedSteps);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
