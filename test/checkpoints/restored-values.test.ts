import test from 'ava';
import { checkCheckpointOptions } from '../../lib/checkpoints/checkpoint-options';
import { pack, unpack } from '../../lib/checkpoints/fit-weight';
import { matrixOf } from '../../lib/encodings/safetensors/matrices';
import { WeightPlanner } from '../../lib/checkpoints/planned-weight';
import { layerCalibration } from '../../lib/fit/layer-rows';
import { quantizeWeights } from '../../lib/fit/quantize-weights';
import { rowsKind } from '../../lib/methods';
import { sharedBytes } from '../../lib/native/shared';
import { convertNow } from '../../lib/native/tensors';
import type { Grid } from '../../lib/types';
import { random } from '../models/networks';
import { formatsOfCheckpoints } from './formats';

const [rows, cols] = [48, 64];

/** What the network computes with behind a fit has to come from the output's bytes alone. */
for (const format of formatsOfCheckpoints)
  test(`a fitted weight read back from its bytes in ${format} is, to the last bit, what the fit gave`, async (t) => {
    let tried = 0;
    for (const dtype of ['F32', 'F16', 'BF16'] as const)
      for (const grid of ['integer', 'asymmetric', 'zero-free', 'full-range', undefined] as const)
        for (const bits of [2, 3, 4, 8])
          for (const groupSize of [16, 'channel'] as const) {
            const fit = await fitted(format, dtype, grid, bits, groupSize).catch(() => undefined);
            if (!fit) continue; // the format cannot hold it
            tried++;
            const { weight, quantized } = fit;
            const parts = weight.layout.parts.map(({ byteLength }) => sharedBytes(byteLength));
            const [codes, scales, zeroPoints] = [
              parts[0]!,
              weight.layout.scales ? parts[1]! : null,
              weight.layout.zeroPoints ? parts[2]! : null,
            ];
            await pack(quantized, weight, [codes, scales, zeroPoints], 2, undefined);
            const values = await unpack(weight, [codes, scales, zeroPoints], 2, undefined);
            const made = quantized.dequantize();
            // Where values are stored, the network computes with them as they are stored.
            const expected =
              weight.layout.packing.order === 'values'
                ? convertNow(convertNow(made, 'F32', dtype), dtype, 'F32')
                : made;
            t.deepEqual(values, expected, [dtype, grid, bits, groupSize].join());
          }
    t.true(tried >= 12, String(tried));
  });

async function fitted(
  format: string,
  dtype: 'F32' | 'F16' | 'BF16',
  grid: Grid | undefined,
  bits: number,
  groupSize: number | 'channel',
) {
  const given = { format, bits, groupSize, method: 'gptq', calibration: [], ...(grid && { grid }) };
  const settings = checkCheckpointOptions(given as Parameters<typeof checkCheckpointOptions>[0]);
  // Those that lie transposed too.
  const turned = settings.encoding.holdsTransposed && bits === 4;
  const entry = { dtype, shape: turned ? [cols, rows] : [rows, cols], position: 0, byteLength: 0 };
  const matrix = matrixOf('a.weight', entry, turned);
  const weight = new WeightPlanner(settings, null, () => true).of(matrix, 'a.weight');
  const reason = settings.encoding.unfit(weight.shape, weight.settings);
  if (reason !== undefined) throw new Error(reason);
  const shape = { outFeatures: rows, inFeatures: cols };
  const data = { weight: random(rows * cols, bits), ...shape, activations: random(200 * cols, 9) };
  const own = await layerCalibration(data, rowsKind('gptq', false));
  const input = { name: 'a', kind: 'Linear', weight: data.weight, ...shape, ...own };
  const quantized = await quantizeWeights(
    input,
    { ...weight.settings, stored: weight.layout.stored },
    { threads: 2 },
  );
  return { weight, quantized };
}
