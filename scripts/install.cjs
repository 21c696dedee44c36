// npm runs this where vertexq is installed. Where there is an addon, of the platform's package or built before, there is nothing to do;
// else it is built.
'use strict';

const { readdirSync, rmSync } = require('node:fs');
const path = require('node:path');
const { REMEDIES, addonPath, buildFromSource, loads } = require('./native-build.cjs');

const root = path.dirname(__dirname);

/** The addons that are there, as the library looks for them; in a clone it may not be compiled yet. */
function places() {
  try {
    return require('../dist/native/addon-file.js')
      .findAddon(root)
      .places.map((place) => place.path);
  } catch {
    return [addonPath(root)];
  }
}

/** What the compiler leaves is of no use to those who installed the package; in a clone there are its sources' tests. */
function clearLeftovers() {
  if (path.basename(path.dirname(root)) !== 'node_modules') return;
  const folder = path.join(root, 'build');
  for (const [parent, keep] of [
    [folder, 'Release'],
    [path.join(folder, 'Release'), path.basename(addonPath(root))],
  ])
    for (const name of readdirSync(parent))
      if (name !== keep) rmSync(path.join(parent, name), { recursive: true, force: true });
}

function main() {
  if (places().some(loads)) return 0;
  const { ok, output } = buildFromSource(root);
  if (ok && loads(addonPath(root))) {
    clearLeftovers();
    return 0;
  }
  const problem = ok
    ? `${addonPath(root)} was built but does not load.`
    : 'its native addon could not be built';
  console.error(`${output}\nvertexq: ${problem}; the reasons stand above.\n\n${REMEDIES}`);
  return 1;
}

process.exitCode = main();
