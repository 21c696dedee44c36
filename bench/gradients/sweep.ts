// npm run bench:sweep [-- tokens]: how long the sweep back through SmolLM2 takes that weights of rows come from (weighting "outputs"), beside running the float network forward, to its logits, a block at a time, and how much
// memory both take. Fails where the sweep takes more than 3.5 times the forward.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { withPrepared } from '../../lib/checkpoints/prepare';
import { forwardOf, networkCurvature } from '../../lib/checkpoints/run-network';
import { PartRunner } from '../../lib/tuning/part-runner';
import { logits, scaledParts } from '../../lib/tuning/scaled-parts';
import { piecesOf } from '../../lib/models/curvature/pieces';
import { loadStage } from '../../lib/models/forward/stage-network';
import { RunFiles } from '../../lib/runs/run-files';
import { Workspace } from '../../lib/runs/workspace';
import { smolLm2Folder } from '../../scripts/models/smollm2';
import { texts } from '../language/measure';

const [tokens = 65_536] = process.argv.slice(2).map(Number);
const most = 3.5;
const length = 512;

async function timed(work: () => Promise<unknown>): Promise<{ seconds: number; cpu: number }> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - started) / 1000, cpu: (user + system) / 1e6 };
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-sweep-'));
  const options = {
    ...{ calibration: texts().calibration, sequenceLength: length, samples: tokens / length },
    ...({ method: 'gptq', weighting: 'outputs' } as const),
  };
  try {
    await withPrepared(
      new RunFiles(),
      await smolLm2Folder(),
      join(folder, 'out'),
      options,
      async (prepared) => {
        const { network, plan, settings } = prepared;
        const workspace = new Workspace(join(folder, 'out'), join(folder, 'work'));
        const { fitted, memory } = forwardOf(network!, plan, workspace, settings, null);
        const { data, opened } = network!;
        const feeds = [...data.fit, ...data.holdout];
        const parts = scaledParts(opened, new Map());
        const blocks = parts.slice(0, -1);
        const head = parts.at(-1)!.stage;
        const [from] = head.inputs as [string];
        const runner = { workspace, memory, signal: undefined };
        const float = await timed(async () => {
          const forward = new PartRunner(opened, blocks, feeds, runner, 'float');
          await forward.forward([...feeds.keys()], blocks.map(() => []), false); // prettier-ignore
          const inputs = [{ name: from, type: 'float32' }];
          const told = { nodes: head.nodes, inputs, outputs: [logits], substitutes: new Map<never, never>() };
          const session = await loadStage({ ...opened, ...told }, 'the head');
          const { vocabulary } = opened.shape;
          for (const batch of feeds.keys()) {
            const taken = { [from]: await forward.hidden(batch) };
            for (const piece of piecesOf({ from, vocabulary }, head, taken))
              await session.run(piece, [logits]);
          }
          await session.release();
        });
        const sweep = await timed(() => networkCurvature(network!, fitted, workspace, settings));
        await workspace.end();
        const ratio = sweep.seconds / float.seconds;
        console.log(
          `${cpus()[0]!.model}, ${availableParallelism()} cores; ${feeds.reduce((sum, { input_ids: ids }) => sum + ids!.dims.reduce((a, b) => a * b, 1), 0)} tokens`,
        );
        console.log(`forward ${float.seconds.toFixed(1)} s (${float.cpu.toFixed(0)} CPU s), sweep ${sweep.seconds.toFixed(1)} s (${sweep.cpu.toFixed(0)}): ${ratio.toFixed(2)} times (asked: at most ${most}), by CPU ${(sweep.cpu / float.cpu).toFixed(2)}; peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`); // prettier-ignore
        if (ratio > most) process.exitCode = 1;
      },
    );
  } finally {
    if (existsSync(folder)) rmSync(folder, { recursive: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
