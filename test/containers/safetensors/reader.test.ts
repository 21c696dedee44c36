import test, { type ExecutionContext } from 'ava';
import { appendFileSync, mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../../lib/errors';
import { SafetensorsFile } from '../../../lib/containers/safetensors/file';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { entry, entryText, rawSafetensors } from './build';

async function refused(t: ExecutionContext, bytes: Uint8Array, message: RegExp): Promise<void> {
  const path = temporaryFile(t, 'some.safetensors', bytes);
  const error = await t.throwsAsync(SafetensorsFile.open(path), { instanceOf: VertexqError, message });
  t.is(error?.code, 'ERR_VERTEXQ_SAFETENSORS');
  t.true(error?.message.startsWith(`${path} is no valid safetensors file: `));
}

function withPrefix(length: bigint, rest: number | string): Buffer {
  const bytes = Buffer.concat([
    Buffer.alloc(8),
    typeof rest === 'string' ? Buffer.from(rest) : Buffer.alloc(rest),
  ]);
  bytes.writeBigUInt64LE(length);
  return bytes;
}

test('files too short for a length', async (t) => {
  for (let size = 0; size < 8; size++)
    await refused(t, Buffer.alloc(size, 0x20), new RegExp(`it has ${size} bytes`));
});

test('header lengths', async (t) => {
  await refused(t, withPrefix(0n, 0), /its header has 0 bytes/);
  await refused(t, withPrefix(1n, '{'), /its header has 1 bytes/);
  for (const length of [2n ** 63n, 2n ** 64n - 1n, 100_000_001n])
    await refused(
      t,
      withPrefix(length, 100),
      new RegExp(`should have ${length} bytes, and at most 100000000`),
    );
  await refused(t, withPrefix(101n, 100), /should have 101 bytes, and the whole file has 108/);
});

test('what is no header', async (t) => {
  await refused(t, rawSafetensors(Buffer.from('{"a\xff":1}', 'latin1')), /not UTF-8/);
  await refused(t, rawSafetensors('\ufeff{}'), /does not begin with "\{"/);
  await refused(t, rawSafetensors(' {}'), /does not begin with "\{"/);
  await refused(t, rawSafetensors('[1,2]'), /does not begin with "\{"/);
  await refused(t, rawSafetensors('{}{}'), /expected the end at character 2 .* not "\{\}"/);
  await refused(t, rawSafetensors('{} x'), /expected the end/);
  await refused(t, rawSafetensors('{}\0'), /expected the end/);
  await refused(t, rawSafetensors('{"a":'), /not its end/);
  await refused(t, rawSafetensors('{"a'), /expected the end of the name/);
  await refused(t, rawSafetensors('{"a": 1}'), /expected "\{"/);
  await refused(t, rawSafetensors('{"a": null}'), /expected "\{"/);
  await refused(t, rawSafetensors('{"a\n": {}}'), /expected the end of the name/);
  await refused(t, rawSafetensors('{"\\x": {}}'), /valid escapes/);
  await refused(t, rawSafetensors('{"\\ud800": {}}'), /valid Unicode/);
  await refused(t, rawSafetensors(`{"a":${'['.repeat(100_000)}`), /expected "\{"/);
  await refused(t, rawSafetensors('{"a":'.repeat(100_000)), /unknown property "a"/);
  await refused(t, rawSafetensors(`{"a":{"shape":${'['.repeat(100_000)}`), /a whole number from 0/);
  await refused(t, rawSafetensors(`{"__metadata__":${'{"a":'.repeat(100_000)}`), /expected the text/);
});

test('metadata', async (t) => {
  await refused(t, rawSafetensors({ __metadata__: { a: 1 } }), /expected the text of the metadata entry "a"/);
  await refused(t, rawSafetensors({ __metadata__: { a: null } }), /expected the text/);
  await refused(t, rawSafetensors({ __metadata__: [] }), /expected "\{"/);
  await refused(t, rawSafetensors('{"__metadata__":{"a":"b","\\u0061":"c"}}'), /metadata has "a" twice/);
  await refused(t, rawSafetensors('{"__metadata__":{},"__metadata__":{}}'), /"__metadata__" twice/);
  const path = temporaryFile(
    t,
    'm.safetensors',
    rawSafetensors('{"__metadata__":{"__proto__":"x","format":"pt"}}  '),
  );
  await SafetensorsFile.with(path, (file) => {
    t.deepEqual(
      [...file.metadata],
      [
        ['__proto__', 'x'],
        ['format', 'pt'],
      ],
    );
    t.is(file.tensors.size, 0);
    return Promise.resolve();
  });
});

test('names', async (t) => {
  const names = ['__proto__', 'constructor', '', 'a\0b', '../x', 'ä€😀', '"\\'];
  const header = `{${names.map((name, i) => `${JSON.stringify(name)}:${entryText('U8', '[1]', `[${i},${i + 1}]`)}`).join(',')}}`;
  const path = temporaryFile(t, 'names.safetensors', rawSafetensors(header, Uint8Array.from(names.keys())));
  await SafetensorsFile.with(path, async (file) => {
    t.deepEqual([...file.tensors.keys()], names);
    for (const [i, name] of names.entries()) t.deepEqual([...(await file.read(name))], [i]);
    await t.throwsAsync(file.read('toString'), {
      code: 'ERR_VERTEXQ_FILE',
      message: /no tensor "toString"/,
    });
  });
  await refused(
    t,
    rawSafetensors(
      `{"a":${entryText('U8', '[1]', '[0,1]')},"\\u0061":${entryText('U8', '[1]', '[1,2]')}}`,
      2,
    ),
    /has the tensor "a" twice/,
  );
});

test('numbers', async (t) => {
  const shape = (text: string) => rawSafetensors(`{"a":${entryText('U8', text, '[0,1]')}}`, 1);
  const offsets = (text: string) => rawSafetensors(`{"a":${entryText('U8', '[1]', text)}}`, 1);
  for (const bad of ['-1', '1.5', '1.0', '1e308', '1e0', '"1"', 'null', 'NaN', '[1]', '01'])
    for (const make of [
      (text: string) => shape(`[${text}]`),
      (text: string) => offsets(`[0,${text}]`),
      (text: string) => offsets(`[${text},1]`),
    ])
      await refused(t, make(bad), /expected (a dimension|an offset), a whole number from 0|expected "\]"/);
  for (const bad of ['9007199254740992', '18446744073709551616', '9'.repeat(400)]) {
    await refused(t, shape(`[${bad}]`), /below 2\^53/);
    await refused(t, offsets(`[0,${bad}]`), /below 2\^53/);
  }
  await refused(t, shape('1'), /expected "\["/);
  await refused(t, shape(`[${'1,'.repeat(300)}1]`), /at most 255 numbers/);
  await refused(t, offsets('[1]'), /1 data_offsets/);
  await refused(t, offsets('[0,1,1]'), /3 data_offsets/);
  await refused(t, offsets('[1,0]'), /begins at byte 1 and ends before, at 0/);
});

test('properties', async (t) => {
  await refused(t, rawSafetensors('{"a":{}}'), /needs a dtype, a shape and data_offsets/);
  await refused(t, rawSafetensors('{"a":{"dtype":"U8","dtype":"U8"}}'), /twice property "dtype"/);
  await refused(t, rawSafetensors('{"a":{"dtype":"U8","strides":[1]}}'), /an unknown property "strides"/);
  await refused(t, rawSafetensors('{"a":{"dtype":8}}'), /tensor "a": expected the dtype/);
});

test('data', async (t) => {
  const two = (b: [number, number], size: number, a: [number, number] = [0, 2]) =>
    rawSafetensors({ a: entry('U8', [a[1] - a[0]], ...a), b: entry('U8', [b[1] - b[0]], ...b) }, size);
  await refused(t, two([1, 4], 4), /"b" begins before tensor "a" has ended/);
  await refused(t, two([0, 2], 2), /"b" begins before tensor "a" has ended/);
  await refused(t, two([3, 4], 4), /between tensor "a" and tensor "b" lie 1 bytes/);
  await refused(t, two([3, 4], 4, [1, 3]), /between the header and tensor "a" lie 1 bytes/);
  await refused(t, two([2, 4], 5), /after tensor "b" come 1 bytes/);
  await refused(t, two([2, 4], 3), /ends at byte .* has only .*: is it cut off\?/);
  await refused(t, rawSafetensors({}, 1), /after the header come 1 bytes/);
  await refused(
    t,
    rawSafetensors({ a: entry('F32', [2, 3], 0, 20) }, 20),
    /"a" has 20 bytes, and F32 \[2, 3\] takes 24/,
  );
  await refused(t, rawSafetensors({ a: entry('F4', [3], 0, 1) }, 1), /takes parts of a byte/);
  for (const shape of [
    [2 ** 52, 2 ** 52],
    [2 ** 32, 2 ** 32],
    [3, 2 ** 52],
  ])
    await refused(t, rawSafetensors({ a: entry('U8', shape, 0, 0) }), /more entries than can be counted/);
  await refused(t, rawSafetensors({ a: entry('F64', [2 ** 52], 0, 0) }), /takes Infinity/);
});

test('zero dimensions, rank 0 and dtypes that are not known', async (t) => {
  const header = {
    none: entry('F32', [0, 2 ** 52, 2 ** 52], 0, 0),
    scalar: entry('F32', [], 0, 4),
    odd: entry('Q3_K', [7, 5], 4, 9),
    also: entry('BF16', [4, 0], 9, 9),
  };
  const path = temporaryFile(t, 'odd.safetensors', rawSafetensors(header, 9));
  await SafetensorsFile.with(path, async (file) => {
    t.is((await file.read('none')).length, 0);
    t.is((await file.read('also', 1, 3)).length, 0);
    t.is((await file.read('scalar')).length, 4);
    t.is((await file.read('odd')).length, 5);
    t.is(file.tensor('odd').dtype, 'Q3_K');
  });
});

test('rows of a tensor', async (t) => {
  const data = Uint8Array.from({ length: 12 }, (_, i) => i);
  const path = temporaryFile(t, 'rows.safetensors', rawSafetensors({ a: entry('U16', [3, 2], 0, 12) }, data));
  await SafetensorsFile.with(path, async (file) => {
    t.deepEqual([...(await file.read('a', 1, 2))], [4, 5, 6, 7]);
    t.deepEqual([...(await file.read('a', 2))], [8, 9, 10, 11]);
    t.is((await file.read('a', 3)).length, 0);
    for (const [begin, end] of [
      [-1, 1],
      [2, 1],
      [0, 4],
      [NaN, 1],
    ] as const)
      await t.throwsAsync(file.read('a', begin, end), { instanceOf: RangeError, message: /has 3 rows/ });
  });
});

test('a million tensors', async (t) => {
  const count = 1_000_000;
  const parts: string[] = [];
  for (let i = 0; i < count; i++)
    parts.push(`"t${i}":{"dtype":"U8","shape":[1],"data_offsets":[${i},${i + 1}]}`);
  const path = temporaryFile(t, 'many.safetensors', rawSafetensors(`{${parts.join(',')}}`, count));
  await SafetensorsFile.with(path, async (file) => {
    t.is(file.tensors.size, count);
    t.deepEqual([...(await file.read('t999999'))], [1]);
  });
});

test('files that are none, or change while they are read', async (t) => {
  const folder = temporaryFolder(t);
  await t.throwsAsync(SafetensorsFile.open(join(folder, 'none')), { code: 'ERR_VERTEXQ_FILE' });
  mkdirSync(join(folder, 'folder'));
  await t.throwsAsync(SafetensorsFile.open(join(folder, 'folder')), {
    code: 'ERR_VERTEXQ_FILE',
    message: /not a regular file but a folder/,
  });
  const path = temporaryFile(t, 'a.safetensors', rawSafetensors({ a: entry('U8', [9], 0, 9) }, 9));
  await SafetensorsFile.with(path, async (file) => {
    await file.requireUnchanged();
    appendFileSync(path, 'x');
    await t.throwsAsync(file.requireUnchanged(), { code: 'ERR_VERTEXQ_FILE', message: /was changed/ });
    truncateSync(path, file.size - 3);
    await t.throwsAsync(file.read('a'), {
      code: 'ERR_VERTEXQ_FILE',
      message: /was changed while it was read: .* ends at byte/,
    });
  });
});
