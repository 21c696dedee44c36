// Three whole networks, through require: a sentence encoder, a reader of text lines and digits. networks.sh does the same on the
// command line. node examples/networks.cjs [sentences] [ocr] [digits]
require('tsx/cjs'); // for data.ts alone
const { join } = require('node:path');
const { evaluateModel, quantizeModel } = require('vertexq');
const { exampleData } = require('./data.ts');

const networks = {
  sentences: {
    model: 'sentence-encoder.onnx',
    data: 'sentences.jsonl',
    test: 'other-sentences.jsonl',
    options: { bits: 4, groupSize: 32 },
  },
  ocr: {
    model: 'ocr.onnx',
    data: 'lines',
    test: 'other-lines',
    options: { bits: 4, groupSize: 32 },
    reading: { image: { mean: 0.5, std: 0.5, order: 'bgr' } },
  },
  digits: {
    model: 'mnist.onnx',
    data: 'digits.npy',
    test: 'other-digits.npy',
    options: { bits: 2, groupSize: 'channel' },
  },
};

async function main() {
  const folder = await exampleData();
  const wanted = process.argv.slice(2);
  for (const [name, { model, data, test, options, reading = {} }] of Object.entries(networks)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const [input, output] = [join(folder, model), join(folder, `${name}-quantized.onnx`)];
    const report = await quantizeModel(input, output, {
      ...options,
      ...reading,
      calibration: join(folder, data),
      effort: 0, // the walk alone: a first look
    });
    const { outputs, bytes } = await evaluateModel(input, output, { data: join(folder, test), ...reading });
    console.log(`${name}: ${report.layers.length} layers, ${bytes.float} → ${bytes.quantized} bytes`);
    for (const { name: value, cosine, sqnrDb, agreement } of outputs)
      console.log(`  ${value}: cosine ${cosine}, SQNR ${sqnrDb} dB, same answer ${agreement}`);
  }
}

main();
