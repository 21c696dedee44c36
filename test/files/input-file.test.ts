import test from 'ava';
import { appendFileSync, truncateSync, writeFileSync } from 'node:fs';
import { allocate, InputFile, requireMemory } from '../../lib/files/input-file';
import { readModel } from '../../lib/containers/onnx/codec';
import { temporaryFile } from './temporary-folder';

test('a file that shrinks, grows or is replaced while it is read', async (t) => {
  const path = temporaryFile(t, 'data', new Uint8Array(1000).fill(7));
  await InputFile.with(path, async (file) => {
    t.is(file.size, 1000);
    appendFileSync(path, 'more');
    t.deepEqual(await file.read(0, file.size), new Uint8Array(1000).fill(7));
    truncateSync(path, 10);
    await t.throwsAsync(file.read(0, file.size), {
      code: 'ERR_VERTEXQ_FILE',
      message: /data was changed while it was read: it had 1000 bytes and ends at byte 10/,
    });
    await t.throwsAsync(file.read(990, 20), {
      code: 'ERR_VERTEXQ_FILE',
      message: /data was changed/,
    });
  });
});

test('a file that is closed again: many are read one after the other', async (t) => {
  const path = temporaryFile(t, 'model.onnx', 'no model');
  for (let i = 0; i < 3000; i++)
    await t.throwsAsync(readModel(path), { code: 'ERR_VERTEXQ_ONNX' }, String(i));
});

test('an ONNX file beyond 2 GiB, and memory that is not there', async (t) => {
  const path = temporaryFile(t, 'huge.onnx', '');
  writeFileSync(path, '');
  truncateSync(path, 2 ** 31); // takes no room
  await t.throwsAsync(readModel(path), {
    code: 'ERR_VERTEXQ_ONNX',
    message: /huge\.onnx: an ONNX file holds at most 2 GiB, this one 2147483648 bytes/,
  });
  for (const need of [() => allocate(2 ** 50, 'it'), () => requireMemory(2 ** 50, 'it')])
    t.throws(need, {
      code: 'ERR_VERTEXQ_MEMORY',
      message: /^it needs about 1.13 PB of memory, and there is room for .*\. Split the data/,
    });
});
