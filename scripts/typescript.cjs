// Has this process run the project's TypeScript as it is: node --require ./scripts/typescript.cjs test/children/quantize.ts. For the tests,
// which start some hundred processes and threads: tsx, which knows every kind of module, takes a second of each. In .cache/typescript are
// kept the JavaScript of each file, its source map, which is read where a stack is told, and what V8 has made of it, and of each package's
// files: to compile them anew was half of what it takes to load the library.
'use strict';

const { createHash } = require('node:crypto');
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const v8 = require('node:v8');
const vm = require('node:vm');
const { threadId } = require('node:worker_threads');

const root = path.dirname(__dirname);
const cache = path.join(root, '.cache', 'typescript');
const { compilerOptions } = JSON.parse(readFileSync(path.join(root, 'tsconfig.json'), 'utf8'));
const options = {
  loader: 'ts',
  format: 'cjs',
  target: 'node20',
  sourcemap: 'external',
  tsconfigRaw: { compilerOptions },
};
const own = readFileSync(path.join(__dirname, 'typescript.cjs'), 'utf8');
const salt = [require('esbuild/package.json').version, JSON.stringify(options), own].join(' ');
const salted = createHash('sha256').update(salt);

const hashOf = (text) => salted.copy().update(text).digest('latin1');
const hashLength = 32;

const keptOf = (filename) => path.join(cache, path.relative(root, filename).replaceAll(/[\\/]/g, '+'));

/** What is kept under a name if it was made of what has this hash; else undefined. */
function kept(name, hash) {
  try {
    const bytes = readFileSync(name);
    if (bytes.latin1Slice(0, hashLength) === hash) return bytes.subarray(hashLength);
  } catch {
    // not made yet
  }
  return undefined;
}

/** Others may be at the same file. */
function keep(name, hash, data) {
  const mine = `${name}.${process.pid}.${threadId}`;
  mkdirSync(cache, { recursive: true });
  writeFileSync(mine, Buffer.concat([Buffer.from(hash, 'latin1'), Buffer.from(data)]));
  renameSync(mine, name);
}

/** Modules of the project that are imported when they are needed: Node looks for JavaScript there. */
const relative = (source) =>
  source.replaceAll(/\bimport\(('\.{1,2}\/[^']*)\.js'\)/g, "Promise.resolve().then(() => require($1'))");

function compiled(filename, source, hash) {
  const before = kept(`${keptOf(filename)}.js`, hash);
  if (before) return before.toString();
  const { code, map } = require('esbuild').transformSync(relative(source), {
    ...options,
    sourcefile: filename,
  });
  keep(`${keptOf(filename)}.map`, hash, map);
  keep(`${keptOf(filename)}.js`, hash, code);
  return code;
}

// --- what V8 has made of a file: of its version and flags

const plain = Module.prototype._compile;
const tag = v8.cachedDataVersionTag().toString(16);
const made = [];

function load(module, filename, code, hash) {
  // What is imported while a kept script runs, Node cannot look for. A program's first line says what runs it.
  if (code.includes('import(') || code.startsWith('#!')) return plain.call(module, code, filename);
  const name = `${keptOf(filename)}.${tag}`;
  const cachedData = kept(name, hash);
  const script = new vm.Script(Module.wrap(code), { filename, cachedData });
  if (!cachedData || script.cachedDataRejected) made.push({ name, hash, script });
  const require = Module.createRequire(filename);
  const values = [module.exports, require, module, filename, path.dirname(filename)];
  return Reflect.apply(script.runInThisContext(), module.exports, values);
}

// When all functions that were needed have been compiled.
process.on('exit', () => {
  for (const { name, hash, script } of made) keep(name, hash, script.createCachedData());
});

Module._extensions['.ts'] = (module, filename) => {
  const source = readFileSync(filename, 'utf8');
  const hash = hashOf(source);
  load(module, filename, compiled(filename, source, hash), hash);
};

const packages = path.join(root, 'node_modules') + path.sep;
Module.prototype._compile = function (code, filename, ...rest) {
  const isKnown = filename.startsWith(packages) && rest.every((value) => value === undefined);
  if (!isKnown) return plain.call(this, code, filename, ...rest);
  return load(this, filename, code, hashOf(code));
};

// --- stacks tell places in the sources

Error.prepareStackTrace = (error, frames) => {
  require('source-map-support').install({
    environment: 'node',
    handleUncaughtExceptions: false,
    retrieveSourceMap: (filename) =>
      filename.endsWith('.ts')
        ? { url: filename, map: readFileSync(`${keptOf(filename)}.map`).toString('utf8', hashLength) }
        : null,
  });
  return Error.prepareStackTrace(error, frames);
};
