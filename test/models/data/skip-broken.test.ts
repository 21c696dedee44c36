import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { readWindows } from '../../../lib/models/data/text';
import { codeOf } from '../../../lib/warning-codes';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson } from './tokenizer';

const pixels: ModelInput[] = [{ name: 'pixels', type: 'float32', dims: ['n', 3, null, null] }];

test('issue 21 item 8: a broken image ends the run, or is left out, named and counted', async (t) => {
  const folder = temporaryFolder(t);
  const png = await sharp(Buffer.alloc(12), { raw: { width: 2, height: 2, channels: 3 } })
    .png()
    .toBuffer();
  for (const name of ['a.png', 'b.png', 'd.png']) writeFileSync(join(folder, name), png);
  const given = { inputs: pixels, holdout: 0 };
  const whole = await prepareCalibrationSet(folder, { ...given, skipBroken: true });
  t.deepEqual(whole.warnings, []);
  writeFileSync(join(folder, 'c.png'), 'no image');
  await t.throwsAsync(prepareCalibrationSet(folder, given), { code: 'ERR_VERTEXQ_IMAGE', message: /c\.png/ });
  const { samples, warnings, fit } = await prepareCalibrationSet(folder, { ...given, skipBroken: true });
  t.is(samples.fit, 3);
  t.deepEqual(fit, whole.fit);
  t.is(codeOf(warnings[0]!), 'WARN_VERTEXQ_SKIPPED_DATA');
  t.regex(
    warnings[0]!,
    /^1 of 4 images cannot be read, and is left out: .*c\.png cannot be read as an image/,
  );
  for (const name of ['a.png', 'b.png', 'd.png']) writeFileSync(join(folder, name), '');
  await t.throwsAsync(prepareCalibrationSet(folder, { ...given, skipBroken: true }), {
    code: 'ERR_VERTEXQ_IMAGE',
    message: /a\.png/,
  });
});

test('issue 21 item 8: a broken line ends the run, or is left out, named and counted', async (t) => {
  const folder = temporaryFolder(t);
  const [tokenizer, path] = [join(folder, 'tokenizer.json'), join(folder, 'texts.jsonl')];
  writeFileSync(tokenizer, JSON.stringify(tokenizerJson()));
  const good = ['{"text": "a b c"}', '{"text": "d"}'];
  const bad = ['{"text": "a', '{"txt": "a"}', Buffer.from([0xff, 0xfe])];
  const write = (...lines: (string | Buffer)[]) =>
    writeFileSync(path, Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from('\n')])));
  const read = (skipBroken: boolean, samples?: number) =>
    readWindows([path], { tokenizer, sequenceLength: 8, skipBroken, ...(samples && { samples }) });
  write(...good);
  const whole = await read(true);
  t.deepEqual(whole.warnings, []);
  write(good[0]!, ...bad, good[1]!);
  await t.throwsAsync(read(false), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /texts\.jsonl, line 2: is no JSON/,
  });
  const { windows, warnings } = await read(true);
  t.deepEqual(windows, whole.windows);
  t.is(codeOf(warnings[0]!), 'WARN_VERTEXQ_SKIPPED_DATA');
  t.regex(warnings[0]!, /^3 of 5 lines cannot be read, and are left out: /);
  for (const line of [2, 3, 4]) t.true(warnings[0]!.includes(`texts.jsonl, line ${line}: `), warnings[0]);
  write(...bad);
  await t.throwsAsync(read(true), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /line 2: expected|line 1: is no JSON/,
  });
});

test('skipBroken with tensors has no effect, and says so', async (t) => {
  const inputs: ModelInput[] = [{ name: 'x', type: 'float32', dims: ['n', 2] }];
  const feeds = { x: { type: 'float32' as const, data: new Float32Array(8), dims: [4, 2] } };
  const { warnings } = await prepareCalibrationSet(feeds, { inputs, holdout: 0, skipBroken: true });
  t.deepEqual(warnings.map(codeOf), ['WARN_VERTEXQ_NO_EFFECT']);
});
