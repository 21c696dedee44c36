import { quantizeCheckpoint, quantizeModel } from '../../lib/index';

// quantize.ts input output options: prints that it has begun, and how it ends.
const [input = '', output = '', options = '{}'] = process.argv.slice(2);

let begun = false;
const onProgress = () => {
  if (!begun) console.log('begun');
  begun = true;
};

const quantize = input.endsWith('.onnx') ? quantizeModel : quantizeCheckpoint;
void quantize(input, output, { ...(JSON.parse(options) as object), onProgress }).then(
  ({ resumed, layers }) => console.log(JSON.stringify({ resumed, layers: layers.length })),
  (error: Error & { code?: string }) => console.log(`${error.code ?? error.name}: ${error.message}`),
);
