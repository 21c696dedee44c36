import test from 'ava';
import { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sampledHash } from '../../lib/files/sampled-hash';
import { temporaryFolder } from './temporary-folder';

/** Writes a file as one that is so many seconds old. */
function put(path: string, bytes: Uint8Array, age: number): void {
  writeFileSync(path, bytes);
  const time = Date.now() / 1000 - age;
  utimesSync(path, time, time);
}

test('a file that is written again has another hash, whether it has just been written or long ago', async (t) => {
  const path = join(temporaryFolder(t), 'weights');
  const [before, after] = [new Uint8Array(9e6).fill(1), new Uint8Array(9e6).fill(2)];
  put(path, before, 3600);
  const first = await sampledHash([path]);
  t.is(await sampledHash([path]), first);
  put(path, after, 3000);
  const second = await sampledHash([path]);
  t.not(second, first);
  // Twice within one tick of the file system's clock.
  writeFileSync(path, before);
  t.is(await sampledHash([path]), first);
  const { length } = readFileSync(path);
  writeFileSync(path, after);
  t.is(length, after.length);
  t.is(await sampledHash([path]), second);
});

test('several files have a hash of their own, whatever their folder', async (t) => {
  const folder = temporaryFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  put(a, Uint8Array.of(1, 2), 60);
  put(b, Uint8Array.of(3), 60);
  const both = await sampledHash([a, b]);
  t.is(await sampledHash([b, a]), both);
  t.false([await sampledHash([a]), await sampledHash([b])].includes(both));
  put(b, Uint8Array.of(4), 30);
  t.not(await sampledHash([a, b]), both);
});
