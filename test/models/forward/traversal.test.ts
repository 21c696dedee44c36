import test from 'ava';
import fc from 'fast-check';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ModelOptions, quantizeLayer, quantizeModel } from '../../../lib/index';
import { findLayers } from '../../../lib/models/layers/find-layers';
import type { Layer } from '../../../lib/models/layers/layer';
import { Graph } from '../../../lib/containers/onnx/graph';
import type { ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import { transposed } from '../../numbers';
import { linesAlong, patchesOf, type Values } from '../layers/reference-rows';
import { bytesOf, feed, files, float, floatsOf, readBack, run } from '../networks';
import { channels, length, networks } from './random-networks';

const samples = 8;
const calibration = [feed([5, channels, length], 1), feed([samples - 5, channels, length], 2)];
const common = { calibration, effort: 0, bits: 3 } as const;

test('random networks: the same bytes whatever memory and threads, and no layer is left out', async (t) => {
  await fc.assert(
    fc.asyncProperty(networks, async (model) => {
      const { input, output } = files(t, model);
      const results = [];
      for (const options of [{}, { memory: 0 }, { threads: 1 }, { threads: 2, memory: 0 }]) {
        const report = await quantizeModel(input, output, { ...common, ...options });
        results.push({
          layers: report.layers.map((layer) => ({ ...layer, seconds: 0 })),
          bytes: readFileSync(output),
        });
      }
      for (const result of results.slice(1)) t.deepEqual(result, results[0]);
      t.is(results[0]!.layers.length, findLayers(new Graph(model, input)).layers.length);
      t.deepEqual(readdirSync(dirname(output)).sort(), ['in.onnx', 'out.onnx']);
    }),
    { numRuns: 12 },
  );
});

/** What a layer sees in the float network, all batches in one. */
async function seenBy(
  { kind, input, inFeatures, groups, constant }: Layer,
  model: ModelProto,
): Promise<Values> {
  const { value, rows } = input!;
  const giving = structuredClone(model);
  const { output } = giving.graph!;
  if (!output.some(({ name }) => name === value)) output.push(float(value));
  const parts: Float32Array[] = [];
  for (const given of calibration)
    parts.push(value === 'x' ? (given['x']!.data as Float32Array) : (await run(giving, given))[value]!);
  const data = Float32Array.from(parts.flatMap((part) => [...part]));
  const features = kind === 'Conv' ? constant.dims[1]! * groups : inFeatures;
  const rest = data.length / samples / features;
  const isLast = rows.kind === 'axis' && rows.axis === -1;
  return { data, dims: isLast ? [samples, rest, features] : [samples, features, rest] };
}

/** The rows of each group. */
function rowsOf({ input, groups }: Layer, values: Values): Float32Array[] {
  const { rows } = input!;
  if (rows.kind === 'axis') return linesAlong(values, rows.axis < 0 ? 3 + rows.axis : rows.axis, groups);
  const { kernel, pads } = rows.geometry;
  const output = [values.dims[2]!];
  return patchesOf(values, {
    kernel,
    strides: [1],
    dilations: [1],
    before: pads.slice(0, 1),
    output,
    groups,
  });
}

test('random networks: a layer by itself gets the codes that quantizeLayer gives for what it sees', async (t) => {
  await fc.assert(
    fc.asyncProperty(networks, fc.nat(99), async (model, chosen) => {
      const { layers } = findLayers(new Graph(model, 'a file'));
      const layer = layers[chosen % layers.length]!;
      const { input, output } = files(t, bytesOf(model));
      const options: ModelOptions = { ...common, groupSize: 'channel', holdout: 0, format: 'float' };
      await quantizeModel(input, output, { ...options, layers: layer.name, errorCorrection: false });

      const { outFeatures, inFeatures, groups, constant } = layer;
      const rows = rowsOf(layer, await seenBy(layer, model));
      const before = floatsOf(constant.tensor);
      const after = floatsOf(
        readBack(output).graph!.initializer.find(({ name }) => name === constant.tensor.name)!,
      );
      const size = before.length / groups;
      for (const [group, activations] of rows.entries()) {
        const part = (all: Float32Array) => {
          const own = all.slice(group * size, (group + 1) * size);
          return layer.order === 'input-major' ? transposed(own, inFeatures, outFeatures) : own;
        };
        const fitted = await quantizeLayer(
          { weight: part(before), outFeatures: outFeatures / groups, inFeatures, activations },
          { bits: 3, effort: 0 },
        );
        t.deepEqual(part(after), fitted.dequantize(), `${layer.name}, group ${group}`);
      }
    }),
    { numRuns: 25 },
  );
});
