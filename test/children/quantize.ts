import { quantizeCheckpoint, quantizeModel, type Progress } from '../../lib/index';

// quantize.ts input output options: prints that it has begun, that it begins to write, and how it ends.
const [input = '', output = '', options = '{}'] = process.argv.slice(2);

let said = '';
const onProgress = ({ stage }: Progress) => {
  const now = stage === 'write' ? 'writing' : 'begun';
  if (said === now || said === 'writing') return;
  console.log((said = now));
};

const quantize = input.endsWith('.onnx') ? quantizeModel : quantizeCheckpoint;
void quantize(input, output, { ...(JSON.parse(options) as object), onProgress }).then(
  ({ resumed, layers }) => console.log(JSON.stringify({ resumed, layers: layers.length })),
  (error: Error & { code?: string }) => console.log(`${error.code ?? error.name}: ${error.message}`),
);
