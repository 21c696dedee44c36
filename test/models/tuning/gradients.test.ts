import test from 'ava';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeWeights } from '../../../lib/fit/quantize-weights';
import { ModelForward } from '../../../lib/models/forward/model-forward';
import { findLayers } from '../../../lib/models/layers/find-layers';
import { isSeen } from '../../../lib/models/layers/layer';
import type { ModelLayer } from '../../../lib/models/layers/model-layers';
import { weightOf } from '../../../lib/models/layers/weight-values';
import { blockGraph } from '../../../lib/models/tuning/block-graph';
import { BlockNetwork } from '../../../lib/models/tuning/block-network';
import { judgedRows } from '../../../lib/models/tuning/judged-rows';
import { Workspace } from '../../../lib/runs/workspace';
import type { Fitted } from '../../../lib/traversal/tuning';
import { inFolder } from '../../decoders/run';
import { cases, weightsIn, writeModel } from '../../decoders/tiny';
import { temporaryFolder } from '../../files/temporary-folder';
import { random } from '../networks';

// Gradients of a block's error by its scales, against central differences of that error.

const settings = {
  ...{ method: 'msq', scale: 'search', box: 'cell', passes: -1, damping: -1, rank: 'auto', rankLimit: 0 },
  ...{ grid: 'asymmetric', levels: 8, bits: 3, groupSize: 4 },
} as unknown as ModelLayer['settings'];

const feedOf = (seed: number) => ({
  input_ids: {
    data: BigInt64Array.from({ length: 3 * 12 }, (_, i) => BigInt((i * i * seed + 5 * i) % 40)),
    dims: [3, 12],
    type: 'int64',
  },
});

for (const name of ['llama', 'qwen3', 'gpt2', 'gemma2', 'olmo2', 'mixtral'])
  test(`of a block of ${name}`, async (t) => {
    const golden = cases.find((own) => own.name === name)!;
    const folder = join(temporaryFolder(t), 'model');
    mkdirSync(folder);
    writeModel(folder, golden.config, weightsIn(golden), 'F32');
    const workspace = new Workspace(join(folder, 'output'));
    await inFolder(folder, 12, async (opened) => {
      const all = findLayers(opened.graph).layers.filter(
        (layer) => isSeen(layer) && !/experts|lm_head|wte/.test(layer.name),
      );
      const layers = all.map((layer) => ({
        ...layer,
        ...{ settings, errorCorrection: true, follows: false },
        source: { byteLength: 0, read: () => weightOf(layer, opened.weights) },
      })) as ModelLayer[];
      const data = { fit: [feedOf(7), feedOf(3)], holdout: [feedOf(11)], samples: { fit: 6, holdout: 3 } };
      const known = { holdoutSizes: [3], batchNames: new Set<string>(), notFinite: null, warnings: [] };
      const forward = new ModelForward(opened, layers, { ...data, ...known }, workspace, 2 ** 20, {
        blockEnds: opened.ends,
      });
      const fitted: Fitted<ModelLayer>[] = [];
      let count = 0;
      for (const stage of forward.stages) {
        if (!stage.block) {
          await forward.run(stage, 'none', () => Promise.resolve(), undefined);
          for (const layer of stage.layers) {
            const given = { calibration: null, holdout: null, weight: await layer.source.read() };
            const quantized = await quantizeWeights({ ...layer, ...given }, settings, { threads: 1 });
            fitted.push({ layer, quantized });
            await forward.substitute(layer, quantized, undefined);
          }
          continue;
        }
        t.deepEqual(
          stage.block,
          fitted.map(({ layer }) => layer),
        );
        // The second, what is given to which is not what it is in the float network.
        if (++count === 2) {
          const block = forward.blockOf(stage);
          const graph = await blockGraph(opened, block.stage, fitted, block.prefix, undefined);
          const rows = await judgedRows(
            block,
            fitted.at(-1)!.layer,
            null,
            graph,
            workspace,
            2 ** 20,
            undefined,
          );
          const network = await BlockNetwork.load(block, graph, rows);
          const scales = fitted.map(({ quantized }) => quantized.scales);
          const errorAt = async (moved: readonly Float32Array[]) =>
            (await network.error(moved, 'fit', undefined))! ** 2 * rows.sizes.fit;
          const both = [await network.gradients(scales, 0), await network.gradients(scales, 1)];
          for (const [i, own] of scales.entries()) {
            const direction = random(own.length, i + 1);
            const moved = (step: number) =>
              scales.map((other, j) =>
                j === i ? other.map((scale, k) => scale * (1 + step * direction[k]!)) : other,
              );
            const step = 4e-3;
            const wanted = ((await errorAt(moved(step))) - (await errorAt(moved(-step)))) / (2 * step);
            let [found, size] = [0, 0];
            for (const [k, scale] of own.entries()) {
              const slope = 2 * scale * (both[0]![i]![k]! + both[1]![i]![k]!);
              found += slope * direction[k]!;
              size += slope ** 2;
            }
            t.true(
              Math.abs(found - wanted) < 0.02 * Math.sqrt(size) + 1e-6,
              `${fitted[i]!.layer.name}: ${found} and ${wanted}`,
            );
          }
          await network.release();
          await rows.end();
          return;
        }
        fitted.length = 0;
        await forward.run(stage, 'none', () => Promise.resolve(), undefined);
      }
      t.fail('there is no second block');
    });
    await workspace.end();
  });
