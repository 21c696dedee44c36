import test, { type ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './files/temporary-folder';
import { typescript } from './typescript';

const lib = join(__dirname, '..', 'lib');

/** A vertexq that has nothing beside it, in a folder of its own; a folder to work in, whose packages say so when they run. */
function setUp(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const [own, work] = [join(folder, 'own', 'vertexq', 'lib'), join(folder, 'work')];
  mkdirSync(own, { recursive: true });
  for (const name of ['optional-package.ts', 'errors.ts']) copyFileSync(join(lib, name), join(own, name));
  const install = (place: string, name: string, script = `console.log('ran in ${place}')`) => {
    const target = join(folder, place, name);
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'package.json'), JSON.stringify({ name, version: '1.0.0', main: 'main.js' }));
    writeFileSync(join(target, 'main.js'), `${script}; exports.here = true;`);
  };
  for (const name of ['onnxruntime-node', 'sharp']) {
    install('work/node_modules', name);
    install('work', name);
  }
  writeFileSync(join(work, 'package.json'), '{}');
  const load = (name: string, env: Record<string, string> = {}) => {
    const script = `
      const { optionalPackage } = require(${JSON.stringify(join(own, 'optional-package.ts'))});
      try { optionalPackage(${JSON.stringify(name)}, 'ERR_VERTEXQ_RUNTIME', 'This'); }
      catch (error) { console.log(error.code, error.message); }`;
    const { stdout } = spawnSync(process.execPath, [typescript, '-e', script], {
      cwd: work,
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
    return stdout.trim();
  };
  return { folder, work, install, load };
}

test('trust 4: packages of the working folder do not run', (t) => {
  const { load } = setUp(t);
  for (const name of ['onnxruntime-node', 'sharp'])
    for (const env of [
      {},
      { NODE_PATH: 'node_modules' },
      { NODE_PATH: '.' },
      { NODE_PATH: './node_modules' },
    ])
      t.is(
        load(name, env),
        `ERR_VERTEXQ_RUNTIME This needs ${name}, which is not installed beside vertexq: npm install ${name} there (with -g for a ` +
          'global vertexq), or set VERTEXQ_MODULES to the whole path of a folder that has it in node_modules',
        JSON.stringify(env),
      );
});

test('trust 4: packages beside vertexq run, and those of a folder that is named', (t) => {
  const { folder, work, install, load } = setUp(t);
  t.is(load('sharp', { VERTEXQ_MODULES: work }), 'ran in work/node_modules');
  t.is(load('sharp', { VERTEXQ_MODULES: join(work, 'node_modules') }), 'ran in work/node_modules');
  t.is(load('sharp', { NODE_PATH: join(work, 'node_modules') }), 'ran in work/node_modules');
  t.regex(
    load('sharp', { VERTEXQ_MODULES: '.' }),
    /^ERR_VERTEXQ_RUNTIME .* VERTEXQ_MODULES is \.: expected the whole path/,
  );
  install('own/node_modules', 'sharp');
  t.is(load('sharp'), 'ran in own/node_modules');
  t.is(load('sharp', { VERTEXQ_MODULES: work }), 'ran in work/node_modules');
  t.is(load('sharp', { VERTEXQ_MODULES: folder }), 'ran in own/node_modules');
});

test('a package that is there and does not load is said not to load', (t) => {
  const { install, load } = setUp(t);
  install('own/node_modules', 'sharp', "require('absent')");
  t.regex(
    load('sharp'),
    /^ERR_VERTEXQ_RUNTIME sharp could not be loaded from .*main\.js: Cannot find module 'absent'/,
  );
});
