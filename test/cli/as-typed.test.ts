import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asTyped } from '../../lib/cli/override-flag';
import { temporaryFolder } from '../files/temporary-folder';
import { runWhole } from './library';

const model = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');

test('ux S4: errors about --override are about --override, unless a file has overrides too', async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, 'out.onnx');
  const call = (...args: string[]) => runWhole(['quantize', model, '-o', output, ...args]);
  const first = await call('--override', 'fc9=bits:3', '--dry-run');
  t.regex(first.stderr, /^vertexq: The pattern "fc9" of the first "--override" matches no layer of /);
  const second = await call(
    '--override',
    '*fc1*=bits:3',
    '--override',
    '*fc2*=bits:9',
    '--dry-run',
    '--json',
  );
  t.regex(
    second.stderr,
    /^vertexq: the second "--override": Expected the "bits" option to be a whole number from 1 to 8, not 9$/m,
  );
  t.regex(second.stdout, /second \\"--override/);
  const file = join(folder, 'own.json');
  writeFileSync(file, JSON.stringify({ overrides: [{ layers: '*fc1*', bits: 8 }] }));
  const both = await call('--config', file, '--override', 'fc9=bits:3', '--dry-run');
  t.regex(both.stderr, /"overrides\[1\]\.layers" option/);
  t.is(asTyped('The "overrides[4].groupSize" option is odd'), '"group-size" of the 5th "--override" is odd');
  t.is(asTyped('The "overrides[2]" option is odd'), 'The third "--override" is odd');
});

test('ux S4: bytes that are too few are told as they are typed', async (t) => {
  const { stderr, code } = await runWhole(['quantize', 'x.safetensors', '-o', 'y', '--memory', '1M']);
  t.is(code, 2);
  t.regex(stderr, /"memory" option to be 128M \(134217728 bytes\) or more, not 1M \(1048576\)/);
});
