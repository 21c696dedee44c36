// A whole network, through import: the MNIST perceptron in 2 bits, calibrated on random images.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantizeModel } from 'vertexq';

const model = fileURLToPath(new URL('../test/fixtures/mnist-mlp.onnx', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'vertexq-'));

const samples = 512;
const image = {
  data: Float32Array.from({ length: samples * 784 }, () => Math.random()),
  dims: [samples, 784],
};

const report = await quantizeModel(model, join(folder, 'mnist-2bit.onnx'), {
  calibration: { image },
  bits: 2,
  groupSize: 'channel',
  onProgress: ({ stage, layer, done, total }) => {
    if (done === total) console.log(`${stage} ${layer ?? ''}`);
  },
});
for (const { name, error } of report.layers)
  console.log(
    `${name}: error ${(100 * error.againstFloat.holdout).toFixed(1)} % against float, ${(100 * error.own.holdout).toFixed(1)} % by itself`,
  );
console.log(`${report.bytes.before} bytes → ${report.bytes.after} bytes`);

await rm(folder, { recursive: true });
