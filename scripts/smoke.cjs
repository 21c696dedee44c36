// The least that must work wherever the package stands: it loads by require and by import as one and the same thing, and
// its addon quantizes. It resolves `vertexq` from its own folder: in a clone that is the clone (a package may name itself).
'use strict';

const assert = require('node:assert');

async function main() {
  const required = require('vertexq');
  const imported = await import('vertexq');
  const names = Object.keys(required).filter((name) => name !== '__esModule');
  assert.ok(names.includes('quantizeLayer'), 'require finds quantizeLayer');
  for (const name of names)
    assert.strictEqual(imported[name], required[name], `${name}: one thing by require and import`);

  const outFeatures = 3;
  const inFeatures = 8;
  const wave = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(1 + i * step));
  const layer = {
    weight: wave(outFeatures * inFeatures, 1.3),
    outFeatures,
    inFeatures,
    activations: wave(20 * inFeatures, 0.7),
  };
  const { codes } = await required.quantizeLayer(layer, { bits: 4 });
  assert.strictEqual(codes.length, layer.weight.length);
  console.log(`smoke test passed: ${require.resolve('vertexq')}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
