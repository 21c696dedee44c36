import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectModel, quantizeCheckpoint, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { plainPath } from '../../lib/files/plain-path';
import { smallModel, writeFolder } from '../checkpoints/make';
import { runWhole } from '../cli/library';
import { temporaryFolder } from './temporary-folder';
import { bytesOf, network, random } from '../models/networks';
import { sameBytes } from './same-bytes';

const model = network({
  nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'layer' })],
  constants: [tensor('w', [64, 64], random(64 * 64, 1))],
});

/** `folder/link` leads to `folder/deep/inner`: to the kernel `link/../x` is `deep/x`, by its text it is `x`. */
function setUp(t: ExecutionContext) {
  const folder = realpathSync(temporaryFolder(t));
  const deep = join(folder, 'deep');
  mkdirSync(join(deep, 'inner'), { recursive: true });
  symlinkSync(join('deep', 'inner'), join(folder, 'link'));
  writeFileSync(join(folder, 'in.onnx'), bytesOf(model));
  // Not by join, which would take the text.
  return { folder, deep, input: join(folder, 'in.onnx'), up: `${folder}/link/..` };
}

test('trust 3: an output behind a link and ".." is what the kernel takes it for, and no input', async (t) => {
  const { folder, deep, up } = setUp(t);
  const inner = join(deep, 'model.onnx');
  writeFileSync(inner, bytesOf(model));
  const before = readFileSync(inner);
  await t.throwsAsync(quantizeModel(inner, `${up}/model.onnx`), {
    instanceOf: RangeError,
    message: /The output .* is the input: give it another name/,
  });
  sameBytes(t, readFileSync(inner), before);
  const checkpoint = join(deep, 'checkpoint');
  writeFolder(checkpoint, smallModel());
  await t.throwsAsync(quantizeCheckpoint(checkpoint, `${up}/checkpoint/out`), {
    instanceOf: RangeError,
    message: /is in the input/,
  });
  t.deepEqual(readdirSync(folder).sort(), ['deep', 'in.onnx', 'link']);
  t.deepEqual(readdirSync(deep).sort(), ['checkpoint', 'inner', 'model.onnx']);
});

test('trust 3: files behind a link and ".." lie where the kernel finds them, and nothing beside the link', async (t) => {
  const { folder, deep, input, up } = setUp(t);
  for (const externalData of [false, true]) {
    const options = { bits: 4, externalData };
    await quantizeModel(input, join(folder, 'whole.onnx'), options);
    await quantizeModel(input, `${up}/whole.onnx`, options);
    for (const name of readdirSync(folder).filter((own) => own.startsWith('whole')))
      sameBytes(t, readFileSync(join(deep, name)), readFileSync(join(folder, name)), name);
  }
  // Its data is looked for beside it.
  t.is((await inspectModel(`${up}/whole.onnx`)).bytes.file > 2048, true);
  writeFolder(join(deep, 'checkpoint'), smallModel());
  await quantizeCheckpoint(`${up}/checkpoint`, `${up}/made`, { groupSize: 32 });
  t.true(readdirSync(join(deep, 'made')).includes('config.json'));
  writeFileSync(join(deep, 'options.json'), '{ "bits": 3, "skip": [] }');
  const files = ['--report', `${up}/report.json`, '--config', `${up}/options.json`];
  const { code, stderr } = await runWhole(['quantize', input, '-o', `${up}/told.onnx`, '-q', ...files]);
  t.is(code, 0, stderr);
  t.true(readdirSync(deep).includes('report.json'));
  t.deepEqual(
    readdirSync(folder).sort(),
    ['deep', 'in.onnx', 'link', 'whole.onnx', 'whole.onnx_data'].sort(),
  );
});

test('a path is changed only where its text would mislead', (t) => {
  const { folder, deep, up } = setUp(t);
  for (const path of ['out.onnx', '../out.onnx', '../../a/b', './x', folder, `${folder}/link/x`, ''])
    t.is(plainPath(path), path);
  t.is(plainPath(`${up}/x`), join(deep, 'x'));
  t.is(plainPath(`${folder}/link/../inner/../y/z`), join(deep, 'y', 'z'));
  t.is(plainPath(`${folder}/link/..`), deep);
  t.is(plainPath(`${folder}/deep/../x`), join(folder, 'x'));
  t.is(plainPath(`${folder}/nothing/../x`), `${folder}/nothing/../x`);
});
