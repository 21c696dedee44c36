// npm runs this where vertexq is installed: a prebuilt addon, else one built before, else cmake-js, else node-gyp.
'use strict';

const { copyFileSync, mkdirSync } = require('node:fs');
const path = require('node:path');
const { REMEDIES, addonPath, buildWithCmakeJs, buildWithNodeGyp, loads } = require('./native-build.cjs');

const root = path.dirname(__dirname);
const addon = addonPath(root);
const prebuilt = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'vertexq.node');

function main() {
  if (loads(prebuilt)) {
    mkdirSync(path.dirname(addon), { recursive: true });
    copyFileSync(prebuilt, addon);
    return 0;
  }
  if (loads(addon)) return 0;

  let log = '';
  for (const build of [buildWithCmakeJs, buildWithNodeGyp]) {
    const { ok, output } = build(root);
    if (ok && loads(addon)) return 0;
    log += `${output}${ok ? `${addon} was built but does not load.\n` : ''}`;
  }
  console.error(
    `${log}\nvertexq: its native addon could not be built; the reasons stand above.\n\n${REMEDIES}`,
  );
  return 1;
}

process.exitCode = main();
