// npx tsx bench/gguf/network.ts folder python calibration.txt judged.txt [--mix q4_0] [--samples 32] [--judged 16] [--method gptq] [--out folder]: a
// network that is fitted to text as a GGUF file, beside the one that ggml's own quantizer makes of the same text: with an importance matrix, the mean
// squares of what each layer sees. `python`: an interpreter that has gguf and libgguf (PyPI). What is in --out already is not made again.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkCheckpointOptions } from '../../lib/checkpoints/checkpoint-options';
import { openSource } from '../../lib/checkpoints/source';
import { type CheckpointFormat, evaluateCheckpoint, type Method, quantizeCheckpoint } from '../../lib';
import { defaults } from '../../lib/options/defaults';
import { ModelForward } from '../../lib/models/forward/model-forward';
import { formatBytes } from '../../lib/reports/units';
import { Workspace } from '../../lib/runs/workspace';
import { aligned, markdownTable } from '../document';

const words = process.argv.slice(2);
const value = (flag: string, fallback: string) =>
  words.includes(flag) ? words.splice(words.indexOf(flag), 2)[1]! : fallback;
const format = `gguf:${value('--mix', 'q4_0')}` as CheckpointFormat;
const [samples, judged] = [Number(value('--samples', '32')), Number(value('--judged', '16'))];
const method = value('--method', 'gptq') as Method;
const folder = value('--out', '') || mkdtempSync(join(tmpdir(), 'vertexq-network-'));

/** Sums of the squares of what each layer of the float network sees, as llama-imatrix writes them. */
async function writeImatrix(path: string, input: string, calibration: string): Promise<void> {
  const settings = checkCheckpointOptions({ format, calibration, samples, method });
  const source = await openSource(input, settings);
  const workspace = new Workspace(join(folder, 'work'), join(folder, 'work'), true);
  try {
    const { opened, layers, data } = await source.network();
    const seenBy = new Map<string, string[]>();
    for (const [name, own] of layers)
      for (const { input: seen } of own) seenBy.set(seen!.value, [...(seenBy.get(seen!.value) ?? []), name]);
    const forward = new ModelForward(opened, [], data, workspace, defaults.modelMemory, {
      ends: [...seenBy.keys()],
    });
    const i32 = (count: number) => Buffer.from(Int32Array.of(count).buffer);
    const entries: Buffer[] = [];
    for (const stage of forward.stages) {
      let sums = new Float64Array();
      await forward.run(
        stage,
        'none',
        (_, { seen: { data: values, dims } }) => {
          const size = dims.at(-1)!;
          if (sums.length === 0) sums = new Float64Array(size);
          const numbers = values as Float32Array;
          for (let i = 0; i < numbers.length; i++) sums[i % size]! += numbers[i]! ** 2;
          return Promise.resolve();
        },
        undefined,
      );
      for (const name of seenBy.get(stage.target) ?? [])
        entries.push(i32(Buffer.byteLength(name)), Buffer.from(name), i32(1), i32(sums.length), Buffer.from(Float32Array.from(sums).buffer)); // prettier-ignore
    }
    writeFileSync(path, Buffer.concat([i32(layers.size), ...entries]));
  } finally {
    await workspace.end();
    await source.close();
  }
}

async function main(): Promise<void> {
  const [input = '', python = '', calibration = '', texts = ''] = words;
  mkdirSync(folder, { recursive: true });
  const at = (name: string) => join(folder, name);
  const [float, matrix, ours, theirs] = [at('f16.gguf'), at('imatrix.dat'), at('ours.gguf'), at('ggml.gguf')];
  const onProgress = ({ layer = '' }) => process.stderr.write(`\r${layer.padEnd(40)}`);
  if (!existsSync(float)) await quantizeCheckpoint(input, float, { format: 'gguf:f16' });
  if (!existsSync(ours))
    await quantizeCheckpoint(input, ours, { format, calibration, samples, method, onProgress });
  if (!existsSync(matrix)) await writeImatrix(matrix, input, calibration);
  if (!existsSync(theirs))
    execFileSync(python, [join(__dirname, 'ggml_file.py'), float, ours, matrix, theirs], {
      stdio: 'inherit',
    });
  const { checkpoints } = await evaluateCheckpoint(input, [ours, theirs], { data: texts, samples: judged });
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const lines = checkpoints.map(
    ({ quantized, klDivergence: kl, klDivergence999, perplexity, sameNextToken }) => [
      quantized === ours ? `vertexq, ${method}` : 'ggml, imatrix',
      formatBytes(statSync(quantized).size),
      `${kl.mean.toFixed(4)} ± ${(kl.standardError ?? 0).toFixed(4)}`,
      ...[klDivergence999.toFixed(2), perplexity.quantized.mean.toFixed(2), percent(sameNextToken.mean)],
    ],
  );
  const [one, other] = checkpoints.map(({ klDivergence }) => klDivergence.mean);
  const head = [format, 'bytes', 'KL', '99.9 %', 'perplexity', 'same token'];
  console.log(`\n${await aligned(markdownTable(head, lines))}`);
  console.log(
    `perplexity of the float network ${checkpoints[0]!.perplexity.float.mean.toFixed(2)}; KL ${(one! / other!).toFixed(3)} of ggml's`,
  );
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
