// npm run kills [-- 50] [-- --checkpoints | --calibrated | --gguf]: kills runs on networks, on checkpoints, on language models that are fitted to tokens, or
// on GGUF files, with SIGKILL at moments spread over all that they do, and goes on with each: to the bytes of an undisturbed run, with nothing half under a
// final name. The moments follow from VERTEXQ_SEED.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mulberry32 } from '../models/trainer/random';
import { killAndResume } from './kill-and-resume';
import { calibratedRuns, checkpointRuns, ggufRuns, networkRuns } from './runs';

async function main(): Promise<void> {
  const words = process.argv.slice(2);
  const kills = Number(words.find((word) => /^\d+$/.test(word)) ?? 50);
  const random = mulberry32(Number(process.env['VERTEXQ_SEED'] ?? 1));
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-kills-'));
  try {
    const make = words.includes('--checkpoints')
      ? checkpointRuns
      : words.includes('--calibrated')
        ? calibratedRuns
        : words.includes('--gguf')
          ? ggufRuns
          : networkRuns;
    const runs = await make(folder);
    const share = (i: number) =>
      Math.floor(((i + 1) * kills) / runs.length) - Math.floor((i * kills) / runs.length);
    for (const [i, run] of runs.entries()) {
      const { load, work, write, completed, resumed } = await killAndResume(run, share(i), random);
      console.log(
        `${run.name}: killed ${load} times while it was loaded, ${work} at work, ${write} while it wrote; ` +
          `${completed} runs to the end, ${resumed} bytes of the input gone on with; all bytes those of an undisturbed run`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
