import { join } from 'node:path';
import { floatBytes } from '../../lib/containers/safetensors/dtypes';
import { SafetensorsFile } from '../../lib/containers/safetensors/file';
import { writeSafetensors } from '../../test/containers/safetensors/write';
import { quantizeLayer, type QuantizeOptions } from '../../lib/index';
import { makeCheckpoint, type Shape } from './make';
import { quantize } from './measure';

/** A model of one layer whose Gram matrices are recorded. */
const shape: Shape = { hidden: 512, intermediate: 1408, layers: 1, vocabulary: 128, giant: null };
const options: QuantizeOptions = { bits: 4, groupSize: 128, method: 'vertex', effort: 8 };

/** Data with a spectrum like that of activations. */
function gramOf(width: number): Float64Array {
  const rank = 256;
  const x = Float64Array.from(
    { length: rank * width },
    (_, i) => (Math.random() - 0.5) / Math.sqrt(1 + Math.floor(i / width)),
  );
  const gram = new Float64Array(width * width);
  for (let r = 0; r < rank; r++)
    for (let i = 0; i < width; i++) {
      const own = x[r * width + i]!;
      for (let j = 0; j < width; j++) gram[i * width + j]! += own * x[r * width + j]!;
    }
  for (let i = 0; i < width; i++) gram[i * width + i]! += 0.01;
  return gram;
}

/** Seconds of each fit in a checkpoint, and of quantizeLayer on the same weight and matrix. */
export async function compareWithEngine(
  folder: string,
): Promise<{ name: string; checkpoint: number; engine: number }[]> {
  const input = join(folder, 'fit-in');
  await makeCheckpoint(input, shape, 'F32');
  const grams = new Map([shape.hidden, shape.intermediate].map((width) => [width, gramOf(width)]));
  const names = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.down_proj'].map(
    (own) => `model.layers.0.${own}`,
  );
  const widthOf = (name: string) => (name.endsWith('down_proj') ? shape.intermediate : shape.hidden);
  const data = join(folder, 'grams.safetensors');
  const specs = names.map((name) => ({
    name: `${name}.gram`,
    dtype: 'F64',
    shape: [widthOf(name), widthOf(name)],
  }));
  await writeSafetensors(
    data,
    specs,
    (name) => new Uint8Array(grams.get(widthOf(name.slice(0, -'.gram'.length)))!.buffer),
  );
  const { fits } = quantize(input, join(folder, 'fit-out'), { ...options, activations: data });
  const results: { name: string; checkpoint: number; engine: number }[] = [];
  await SafetensorsFile.with(join(input, 'model.safetensors'), async (file) => {
    for (const name of names) {
      const bytes = await file.read(`${name}.weight`);
      const inFeatures = widthOf(name);
      const weight = new Float32Array(bytes.buffer);
      const outFeatures = bytes.length / floatBytes.F32 / inFeatures;
      const layer = { weight, outFeatures, inFeatures, gram: grams.get(inFeatures)! };
      const { report } = await quantizeLayer(layer, { ...options, grid: 'asymmetric' });
      results.push({
        name,
        checkpoint: fits.find((fit) => fit.name === name)!.seconds,
        engine: report.seconds,
      });
    }
  });
  return results;
}
