// A user's folder, as the documents take it to be: small models under the names that they use, data, and vertexq in node_modules.
import type { ExecutionContext } from 'ava';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { quantizeCheckpoint } from '../../lib/index';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType, type ModelProto } from '../../lib/containers/onnx/onnx_pb';
import { smallModel, writeSmall } from '../checkpoints/gguf/models';
import { bytesOf as floatBytes, fileOf, type Tensors } from '../checkpoints/make';
import { formatNpz } from '../containers/npy/make-npz';
import { temporaryFolder } from '../files/temporary-folder';
import { tokenizerJson, words } from '../models/data/tokenizer';
import { bytesOf, float, network, random } from '../models/networks';

const root = join(__dirname, '..', '..');
const width = 64;

/** Products by name, in blocks and a head as networks' exporters name them. */
function products(begin: string, inputs: number): Parameters<typeof network>[0] {
  const sizes: Record<string, [number, number]> = {
    '/block/up': [inputs, 2 * width],
    '/block/down': [2 * width, width],
    '/model/head/out': [width, 16],
  };
  const names = Object.keys(sizes);
  return {
    nodes: names.map((name, i) =>
      node('MatMul', [i === 0 ? begin : names[i - 1]!, `${name}/w`], [i === 2 ? 'y' : name], { name }),
    ),
    constants: names.map((name, i) =>
      tensor(`${name}/w`, sizes[name]!, random(sizes[name]![0] * sizes[name]![1], i + 1)),
    ),
  };
}

function textNetwork(): ModelProto {
  const { nodes, constants } = products('embedded', width);
  return network({
    nodes: [node('Gather', ['table', 'input_ids'], ['embedded']), ...nodes],
    constants: [tensor('table', [words.length, width], random(words.length * width, 9)), ...constants],
    inputs: [valueInfo('input_ids', DataType.INT64, ['batch', 'sequence'])],
  });
}

function imageNetwork(): ModelProto {
  const { nodes, constants } = products('flat', 4 * 36);
  return network({
    nodes: [
      node('Conv', ['pixels', 'kernel'], ['maps'], { name: '/conv' }),
      node('Flatten', ['maps'], ['flat']),
      ...nodes,
    ],
    constants: [tensor('kernel', [4, 3, 3, 3], random(108, 8)), ...constants],
    inputs: [float('pixels', ['batch', 3, 8, 8])],
  });
}

const samples = (count: number, seed: number) =>
  formatNpz(new Map([['x', { data: random(count * width, seed), dims: [count, width] }]]));

/** Documents of words, one a line. */
const texts = (count: number, choice: readonly string[]): string =>
  Array.from({ length: count }, (_, i) =>
    Array.from({ length: 24 }, (__, j) => choice[(i * 7 + j * j * 3 + (j % 5)) % choice.length]).join(' '),
  ).join('\n');

/** What layers of the small language model see, by the names of its weights. */
function recorded(weights: ReturnType<typeof smallModel>['weights']): Uint8Array {
  const seen: Tensors = {};
  for (const [i, [name, { shape }]] of Object.entries(weights).entries())
    if (/(?:q|o|gate|down)_proj\.weight$/.test(name))
      seen[name] = {
        ...{ dtype: 'F32', shape: [512, shape[1]!] },
        data: floatBytes(random(512 * shape[1]!, i + 20), 'F32'),
      };
  return fileOf(seen);
}

/** Folders that have all files of the documents' commands: networks on rows of numbers, on text, on images. */
export interface Workplace {
  rows: string;
  text: string;
  images: string;
}

export async function workplace(t: ExecutionContext): Promise<Workplace> {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(root, join(folder, 'node_modules', 'vertexq'));
  for (const name of ['@huggingface', 'onnxruntime-node'])
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  // npm links to the program and makes it executable.
  const program = `#!/bin/sh\nexec node '${join(root, 'dist', 'cli', 'main.js')}' "$@"\n`;
  writeFileSync(join(folder, 'node_modules', '.bin', 'vertexq'), program, { mode: 0o755 });
  const [rows, text, images] = ['rows', 'text', 'images'].map((name) => {
    const own = join(folder, name);
    mkdirSync(own);
    writeFileSync(join(own, 'vertexq.config.json'), JSON.stringify({ bits: 4 }));
    return own;
  }) as [string, string, string];
  const put = (own: string, name: string, contents: string | Uint8Array) =>
    writeFileSync(join(own, name), contents);

  put(rows, 'model.onnx', bytesOf(network({ ...products('x', width), inputs: [float('x', ['batch', width])] }))); // prettier-ignore
  put(rows, 'samples.npz', samples(400, 3));
  put(rows, 'test.npz', samples(100, 4));
  put(text, 'model.onnx', bytesOf(textNetwork()));
  put(text, 'tokenizer.json', JSON.stringify(tokenizerJson()));
  put(text, 'texts.txt', texts(60, words.slice(4, 8)));
  put(images, 'model.onnx', bytesOf(imageNetwork()));
  mkdirSync(join(images, 'photos'));
  for (let i = 0; i < 24; i++)
    await sharp(Buffer.from(Array.from({ length: 192 }, (_, j) => (i * 53 + j * j * 7) % 256)), {
      raw: { width: 8, height: 8, channels: 3 },
    })
      .png()
      .toFile(join(images, 'photos', `${i}.png`));

  // As small as the groups of their commands let them be.
  const ofWidth = (hidden: number) => {
    const heads = { heads: hidden / 32, keyValueHeads: hidden / 64, headSize: 32 };
    return smallModel('llama', { ...heads, hidden, feedForward: hidden, blocks: 1 });
  };
  const llama = ofWidth(128);
  const tokens = { bos_token: '<|im_start|>', eos_token: '<|im_end|>', pad_token: '<|im_end|>' };
  for (const name of ['Llama-3.2-1B', 'SmolLM2-135M', 'SmolLM2-135M-Instruct']) {
    writeSmall(join(rows, name), 'llama', 'BF16', name.startsWith('Llama') ? llama : ofWidth(64));
    put(rows, join(name, 'tokenizer_config.json'), JSON.stringify(tokens));
  }
  for (const [name, format] of [
    ['model-f16.gguf', 'gguf:f16'],
    ['model.q4_k_m.gguf', 'gguf:q4_k_m'],
  ] as const)
    await quantizeCheckpoint(join(rows, 'SmolLM2-135M'), join(rows, name), { format });
  put(rows, 'inputs.safetensors', recorded(llama.weights));
  const choice = ['the', 'other', 'in', 'an', 'on', 'weather', 'never', 'and', 'than', 'thin'];
  put(rows, 'texts.txt', texts(24, choice));
  put(rows, 'other-texts.txt', texts(6, choice.slice(2)));
  return { rows, text, images };
}
