import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib';
import { binding } from '../../lib/native/binding';
import { Lock } from '../../lib/runs/lock';
import { Workspace } from '../../lib/runs/workspace';
import { codeOf } from '../../lib/warning-codes';
import { bytesOf, fileOf } from '../checkpoints/make';
import { temporaryFolder } from '../files/temporary-folder';
import { random } from '../models/networks';
import { sameBytes } from '../files/same-bytes';

/** Has the addon answer as where locks are not known. */
function withoutLocks(): () => void {
  const addon = binding();
  const lockFile = addon.lockFile.bind(addon);
  addon.lockFile = () => null;
  return () => void (addon.lockFile = lockFile);
}

test.serial('ux 23: where the file system has no locks a run goes on, and says so', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'lock');
  const input = join(folder, 'in.safetensors');
  const shape = [32, 64];
  const data = bytesOf(random(32 * 64, 1), 'F32');
  writeFileSync(input, fileOf({ 'model.layers.0.q_proj.weight': { dtype: 'F32', shape, data } }));
  const usual = await quantizeCheckpoint(input, join(folder, 'a.safetensors'), {});
  const restore = withoutLocks();
  try {
    const lock = await Lock.take(path);
    t.deepEqual(lock.warnings.map(codeOf), ['WARN_VERTEXQ_NO_LOCKS']);
    t.true(lock.warnings[0]!.includes(folder));
    t.false(await Lock.isHeld(path));
    await lock.remove();
    const { warnings } = await quantizeCheckpoint(input, join(folder, 'b.safetensors'), {});
    t.true(warnings.some((text) => codeOf(text) === 'WARN_VERTEXQ_NO_LOCKS'));
  } finally {
    restore();
  }
  t.false(usual.warnings.some((text) => codeOf(text) === 'WARN_VERTEXQ_NO_LOCKS'));
  sameBytes(t, readFileSync(join(folder, 'a.safetensors')), readFileSync(join(folder, 'b.safetensors')));
});

test.serial('where it has, nothing is said, and a second run is refused', async (t) => {
  const path = join(temporaryFolder(t), 'lock');
  const lock = await Lock.take(path);
  t.deepEqual(lock.warnings, []);
  await t.throwsAsync(Lock.take(path), { code: 'ERR_VERTEXQ_LOCKED' });
  await lock.remove();
});

test.serial('ux 19: where temporary files cannot be written the message names TMPDIR', async (t) => {
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = '/proc/nowhere';
  try {
    await t.throwsAsync(Workspace.temporary().create('compared.onnx'), {
      code: 'ERR_VERTEXQ_FILE',
      message:
        /^Temporary files cannot be written in \/proc\/nowhere: .*Set TMPDIR to a folder that can be written to$/,
    });
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
});
