import test, { type ExecutionContext } from 'ava';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../../lib/containers/safetensors/checkpoint';
import { temporaryFolder } from '../../files/temporary-folder';
import { entry, rawSafetensors } from './build';

const one = (name: string) => rawSafetensors({ [name]: entry('U8', [1], 0, 1) }, 1);

/** A folder with the shards a.safetensors and b.safetensors, which hold the tensors a and b, and an index. */
function sharded(t: ExecutionContext, weightMap: unknown, raw?: string): string {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'a.safetensors'), one('a'));
  writeFileSync(join(folder, 'b.safetensors'), one('b'));
  const text = raw ?? JSON.stringify({ metadata: { total_size: 2 }, weight_map: weightMap });
  writeFileSync(join(folder, 'model.safetensors.index.json'), text);
  return folder;
}

async function refused(
  t: ExecutionContext,
  folder: string,
  message: RegExp,
  code = 'ERR_VERTEXQ_SAFETENSORS',
) {
  const error = await t.throwsAsync(openCheckpoint(folder), { message, code });
  t.true(error?.message.includes(folder));
}

test('a folder with an index, a folder with one file, a file', async (t) => {
  const folder = sharded(t, { b: 'b.safetensors', a: 'a.safetensors' });
  for (const input of [folder, join(folder, 'model.safetensors.index.json')]) {
    const checkpoint = await openCheckpoint(input);
    t.deepEqual(
      [...checkpoint.places],
      [
        ['a', 'a.safetensors'],
        ['b', 'b.safetensors'],
      ],
    );
    t.true(checkpoint.index?.text.includes('"total_size":2'));
    t.is(checkpoint.folder, folder);
    await checkpoint.close();
  }
  const file = await openCheckpoint(join(folder, 'a.safetensors'));
  t.deepEqual([file.folder, file.index, [...file.shards.keys()]], [null, null, ['a.safetensors']]);
  await file.close();
  const single = temporaryFolder(t);
  await refused(t, single, /has no \.safetensors file/);
  writeFileSync(join(single, 'x.safetensors'), one('x'));
  const found = await openCheckpoint(single);
  t.deepEqual([...found.places], [['x', 'x.safetensors']]);
  await found.close();
  writeFileSync(join(single, 'y.safetensors'), one('y'));
  await refused(t, single, /2 \.safetensors files and no model\.safetensors\.index\.json/);
  await refused(t, join(single, 'none'), /cannot be read/, 'ERR_VERTEXQ_FILE');
});

test('shards that are not in the folder', async (t) => {
  const outside = join(temporaryFolder(t), 'a.safetensors');
  writeFileSync(outside, one('a'));
  for (const bad of [
    outside,
    '../a.safetensors',
    'x/../a.safetensors',
    '',
    'C:\\a.safetensors',
    '..\\a.safetensors',
    '/dev/zero',
  ])
    await refused(t, sharded(t, { a: bad, b: 'b.safetensors' }), /is not in that folder/);
  for (const bad of ['a', 'x/a.safetensors', 'a\0.safetensors', '.'])
    await refused(t, sharded(t, { a: bad, b: 'b.safetensors' }), /expected the name of a \.safetensors file/);
  const linked = sharded(t, { a: 'link.safetensors', b: 'b.safetensors' });
  symlinkSync(outside, join(linked, 'link.safetensors'));
  await refused(t, linked, /is a link to .*, out of that folder/);
  const inner = sharded(t, { a: 'link.safetensors', b: 'b.safetensors' });
  symlinkSync('a.safetensors', join(inner, 'link.safetensors'));
  await (await openCheckpoint(inner)).close();
});

test('links of a cache of the Hugging Face hub', async (t) => {
  const cache = join(temporaryFolder(t), 'models--a--b');
  const folder = join(cache, 'snapshots', '1234');
  mkdirSync(folder, { recursive: true });
  mkdirSync(join(cache, 'blobs'));
  writeFileSync(join(cache, 'blobs', 'feed'), one('a'));
  symlinkSync('../../blobs/feed', join(folder, 'model.safetensors'));
  const checkpoint = await openCheckpoint(folder);
  t.deepEqual([...checkpoint.places], [['a', 'model.safetensors']]);
  await checkpoint.close();
});

test('an index and shards that do not tell the same', async (t) => {
  await refused(
    t,
    sharded(t, { a: 'a.safetensors', b: 'c.safetensors' }),
    /shard "c\.safetensors" .* cannot be read: ENOENT/,
    'ERR_VERTEXQ_FILE',
  );
  await refused(
    t,
    sharded(t, { a: 'a.safetensors', b: 'b.safetensors', c: 'a.safetensors' }),
    /"c" should be in a\.safetensors and is in no shard/,
  );
  await refused(
    t,
    sharded(t, { a: 'b.safetensors', b: 'a.safetensors' }),
    /"a" should be in b\.safetensors and is in a\.safetensors/,
  );
  const hidden = sharded(t, { a: 'a.safetensors' });
  writeFileSync(
    join(hidden, 'a.safetensors'),
    rawSafetensors({ a: entry('U8', [1], 0, 1), z: entry('U8', [1], 1, 2) }, 2),
  );
  await refused(t, hidden, /"z" of a\.safetensors is not in the index/);
  const twice = sharded(t, { a: 'a.safetensors', b: 'b.safetensors' });
  writeFileSync(join(twice, 'b.safetensors'), one('a'));
  await refused(t, twice, /"a" is in two shards, a\.safetensors and b\.safetensors/);
});

test('what is no index', async (t) => {
  const map = '"weight_map":{"a":"a.safetensors","b":"b.safetensors"}';
  const nested = `{"metadata":{"x":[1,{"y":"]}"}],"z":-1.5e3,"n":null},"more":${'['.repeat(1000)}${']'.repeat(1000)},${map}}`;
  await (await openCheckpoint(sharded(t, null, nested))).close();
  for (const [text, message] of [
    ['', /expected "\{"/],
    ['[]', /expected "\{"/],
    ['{}', /no "weight_map"/],
    [`{${map},${map}}`, /has "weight_map" twice/],
    ['{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}', /has the tensor "a" twice/],
    ['{"weight_map":{"a":1}}', /expected the file of tensor "a"/],
    ['{"weight_map":[]}', /expected "\{"/],
    [`{${map},"x":[1}`, /"x"/],
    [`{${map},"x":[`, /expected the end of "x"/],
    [`{${map}} {`, /expected the end/],
    [`{"x":${'['.repeat(100_000)}`, /expected the end of "x"/],
  ] as const)
    await refused(t, sharded(t, null, text), message);
  const folder = sharded(t, {});
  writeFileSync(join(folder, 'model.safetensors.index.json'), Buffer.from('{"\xff":1}', 'latin1'));
  await refused(t, folder, /not UTF-8/);
});
