// npm run bench:gguf -- python [--quick]: block types against ggml's own quantizer, into docs/gguf-types.md. `python`: an interpreter that
// has gguf and libgguf (PyPI). --quick: few neurons and layers, and the document stays as it is.
import { join } from 'node:path';
import { ggufTypeNames } from '../../lib/encodings/names';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { aligned, fillIn, keep, markdownTable } from '../document';
import { sentenceEncoderLayers } from '../quality/layers';
import { fits, type Layer, measure, type Result } from './measure';

const [python, ...words] = process.argv.slice(2);
const quick = words.includes('--quick');
const quantizers = ['ggml, plain', 'ggml, imatrix', ...Object.keys(fits)];

function drawn(name: string, draw: (uniform: () => number) => number): Layer {
  const uniform = mulberry32(20);
  const [outFeatures, inFeatures] = [64, 1024];
  const weight = Float32Array.from({ length: outFeatures * inFeatures }, () => 0.02 * draw(uniform));
  return { name, weight, outFeatures, inFeatures };
}

const random = [
  drawn('normal', (uniform) => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())),
  drawn('Laplace', (uniform) => Math.log(1 - uniform()) * (uniform() < 0.5 ? 1 : -1)),
];

/** The first of the encoder's layers with so many inputs, and whose name holds so much. */
const chosen = [
  ['conv1', 512],
  ['qkv', 512],
  ['conv2', 1536],
] as const;

/** Percent of one quantity, a line a type. */
function table(
  results: readonly Result[],
  columns: readonly string[],
  of: (result: Result) => number,
): string {
  const lines = ggufTypeNames.flatMap((type) => {
    const found = columns.map((quantizer) =>
      results.find((result) => result.type === type && result.quantizer === quantizer),
    );
    if (found.some((result) => !result)) return [];
    return [[type, ...found.map((result) => (100 * of(result!)).toPrecision(4))]];
  });
  return markdownTable(['%', ...columns], lines);
}

async function main(): Promise<void> {
  if (!python) throw new Error('Tell the Python that has gguf and libgguf');
  const results: Result[] = [];
  for (const layer of random) results.push(...(await measure(layer, python)));
  const names: string[] = [];
  for await (const layer of sentenceEncoderLayers(quick ? 8 : 24)) {
    const is = chosen.some(
      ([part, inputs]) =>
        layer.name.includes(part) && layer.inFeatures === inputs && !names.some((n) => n.includes(part)),
    );
    console.error(layer.name, layer.inFeatures, is);
    if (!is) continue;
    names.push(layer.name);
    results.push(...(await measure(layer, python)));
    if (quick || names.length === chosen.length) break;
  }
  const document = join(__dirname, '..', '..', 'docs', 'gguf-types.md');
  const parts: Record<string, string> = {};
  for (const name of ['normal', 'Laplace'])
    parts[name] = table(
      results.filter((result) => result.layer === name),
      ['ggml, plain', 'ggml, imatrix', 'msq, no data'],
      ({ weight }) => weight,
    );
  parts.layers = names
    .map((name) => {
      const own = results.filter((result) => result.layer === name);
      return (
        `\`${name}\`, ${own[0]!.inFeatures} inputs, weights' error with inputs weighted by their mean squares:\n\n` +
        table(own, ['ggml, imatrix', 'msq, diagonal'], ({ weighted }) => weighted) +
        `\n\nHeld-out output error:\n\n` +
        table(own, quantizers, ({ holdout }) => holdout!)
      );
    })
    .join('\n\n');
  for (const [name, text] of Object.entries(parts)) {
    console.log(`\n${name}\n\n${await aligned(text)}`);
    if (!quick) fillIn(document, name, await aligned(text));
  }
  if (!quick) await keep(join(__dirname, '..', '..', 'docs', 'gguf-types.json'), 'types', results);
}

void main();
