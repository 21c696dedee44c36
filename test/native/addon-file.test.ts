import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addonRemedy, findAddon, platformPackage } from '../../lib/native/addon-file';
import { version } from '../../lib/version';
import { temporaryFolder } from '../files/temporary-folder';

/** A folder as vertexq's own, with a build, and with the platform's package of a version beside it. */
function installation(
  t: ExecutionContext,
  { built = false, packaged }: { built?: boolean; packaged?: string },
) {
  const folder = temporaryFolder(t);
  const root = join(folder, 'node_modules', 'vertexq');
  const release = join(root, 'build', 'Release');
  mkdirSync(release, { recursive: true });
  if (built) writeFileSync(join(release, 'vertexq.node'), '');
  const beside = join(folder, 'node_modules', platformPackage());
  if (packaged !== undefined) {
    mkdirSync(beside, { recursive: true });
    writeFileSync(join(beside, 'package.json'), JSON.stringify({ version: packaged }));
    writeFileSync(join(beside, 'vertexq.node'), '');
  }
  return { root, build: join(release, 'vertexq.node'), addon: join(beside, 'vertexq.node') };
}

test("the platform's package goes before a build", (t) => {
  const { root, build, addon } = installation(t, { built: true, packaged: version });
  t.deepEqual(findAddon(root).places, [
    { path: addon, from: 'package' },
    { path: build, from: 'build' },
  ]);
});

test('without a package the build counts, and without either nothing', (t) => {
  const { root, build } = installation(t, { built: true });
  t.deepEqual(findAddon(root).places, [{ path: build, from: 'build' }]);
  const nothing = findAddon(installation(t, {}).root);
  t.deepEqual(nothing.places, []);
  t.is(nothing.passedOver, null);
  t.true(addonRemedy(nothing).includes(`npm install ${platformPackage()}@${version}`));
});

test('a package of another version is passed over, and it is said why', (t) => {
  const { root } = installation(t, { packaged: '0.0.1' });
  const { places, passedOver } = findAddon(root);
  t.deepEqual(places, []);
  t.regex(passedOver!, new RegExp(`is version 0\\.0\\.1, vertexq ${version.replaceAll('.', '\\.')}`));
});

test('packages are named by system, processor and, on Linux, C library', (t) => {
  const folder = temporaryFolder(t);
  const program = (name: string, loader: string) => {
    const file = join(folder, name);
    writeFileSync(
      file,
      Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(500), Buffer.from(loader)]),
    );
    return file;
  };
  const name = (platform: NodeJS.Platform, arch: NodeJS.Architecture, loader: string) =>
    platformPackage({ platform, arch, execPath: program(`${platform}-${arch}`, loader) } as NodeJS.Process);
  t.is(name('linux', 'x64', '/lib64/ld-linux-x86-64.so.2'), '@vertexq/linux-x64-gnu');
  t.is(name('linux', 'x64', '/lib/ld-musl-x86_64.so.1'), '@vertexq/linux-x64-musl');
  t.is(name('linux', 'arm64', '/lib/ld-linux-aarch64.so.1'), '@vertexq/linux-arm64-gnu');
  t.is(name('darwin', 'arm64', ''), '@vertexq/darwin-arm64');
  t.is(name('win32', 'x64', '/lib/ld-musl-x86_64.so.1'), '@vertexq/win32-x64');
});
