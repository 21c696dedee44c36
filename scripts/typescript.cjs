// Has this process run the project's TypeScript as it is: node --require ./scripts/typescript.cjs test/children/quantize.ts. For the tests,
// which start some hundred processes and threads: tsx, which knows every kind of module, takes a second of each. Compiled files are kept
// in .cache/typescript.
'use strict';

const { createHash } = require('node:crypto');
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { threadId } = require('node:worker_threads');

const root = path.dirname(__dirname);
const cache = path.join(root, '.cache', 'typescript');
const { compilerOptions } = JSON.parse(readFileSync(path.join(root, 'tsconfig.json'), 'utf8'));
const options = {
  loader: 'ts',
  format: 'cjs',
  target: 'node20',
  sourcemap: 'inline',
  tsconfigRaw: { compilerOptions },
};
const own = readFileSync(path.join(__dirname, 'typescript.cjs'), 'utf8');
const salt = [require('esbuild/package.json').version, JSON.stringify(options), own].join(' ');

/** What is kept of a file: the hash of what it was made of, and the JavaScript. */
function compiled(filename) {
  const source = readFileSync(filename, 'utf8');
  const hash = createHash('sha256').update(salt).update(source).digest('hex');
  const kept = path.join(cache, `${path.relative(root, filename).replaceAll(/[\\/]/g, '+')}.js`);
  try {
    const text = readFileSync(kept, 'utf8');
    if (text.startsWith(hash)) return text.slice(hash.length);
  } catch {
    // not compiled yet
  }
  const { code } = require('esbuild').transformSync(relative(source), { ...options, sourcefile: filename });
  // Others may be at the same file.
  const mine = `${kept}.${process.pid}.${threadId}`;
  mkdirSync(cache, { recursive: true });
  writeFileSync(mine, hash + code);
  renameSync(mine, kept);
  return code;
}

/** Modules of the project that are imported when they are needed: Node looks for JavaScript there. */
const relative = (source) =>
  source.replaceAll(/\bimport\(('\.{1,2}\/[^']*)\.js'\)/g, "Promise.resolve().then(() => require($1'))");

process.setSourceMapsEnabled(true);
Module._extensions['.ts'] = (module, filename) => module._compile(compiled(filename), filename);
