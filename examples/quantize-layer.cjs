// One layer, through require: W in 3 bits on data with fewer samples than inputs, the paper's setting.
const { preprocess, quantizeLayer } = require('vertexq');

const inFeatures = 512;
const outFeatures = 64;
const samples = 64;

let seed = 1;
const uniform = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const random = (length) => Float32Array.from({ length }, () => 2 * uniform() - 1);

async function main() {
  const layer = {
    weight: random(outFeatures * inFeatures),
    outFeatures,
    inFeatures,
    activations: random(samples * inFeatures),
  };

  const walked = await preprocess(layer, { bits: 3 });
  console.log(
    `the walk left ${walked.free[0].length} of ${inFeatures} weights off the alphabet (rank ${walked.rank})`,
  );
  console.log(`and moved the outputs by ${walked.residual.toExponential(1)} of their size`);

  for (const method of ['msq', 'maly-saab']) {
    const quantized = await quantizeLayer(layer, { method, bits: 3, scale: 'max' });
    const { error } = quantized.report;
    console.log(
      `${method}: output error ${(100 * error.own.calibration).toFixed(2)} %, weight error ${(100 * error.weight).toFixed(2)} %`,
    );
  }
}

main();
