// npx tsx bench/gguf/runtime.ts [file.gguf or kind ...]: node-llama-cpp on GGUF files, beside our own forward on the weights in them. Without arguments on
// small random models of each architecture, from folders and from GGUF files. NODE_LLAMA: a node_modules that has node-llama-cpp 3.21.1 (else it is
// installed into .cache, 700 MB).
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { OpenGguf } from '../../lib/checkpoints/gguf/open';
import { ConfigReader } from '../../lib/decoders/config';
import { openDecoder } from '../../lib/decoders/open';
import { quantizeCheckpoint } from '../../lib/index';
import { loadTokenizer } from '../../lib/models/data/tokenizer';
import { kindNames, writeSmall } from '../../test/checkpoints/gguf/models';
import { run } from '../../test/decoders/run';

const prompts = [
  'The capital of France is',
  'Once upon a time',
  'Water boils at a temperature of 100',
  'def fibonacci(n):',
  '<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n',
];

interface Answer {
  shares: number[][];
  prompts: { tokens: number[]; text: string }[];
}

/** node-llama-cpp in a process of its own. */
class Runtime {
  private readonly child = spawn(process.execPath, [join(__dirname, 'llama.mjs'), modules()], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  private readonly lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();

  async ask(question: { file: string; ids: number[]; prompts: string[] }): Promise<Answer> {
    this.child.stdin.write(`${JSON.stringify(question)}\n`);
    const line: IteratorResult<string, unknown> = await this.lines.next();
    if (line.done) throw new Error(`node-llama-cpp ended at ${question.file}`);
    return JSON.parse(line.value) as Answer;
  }

  end(): void {
    this.child.stdin.end();
  }
}

function modules(): string {
  const given = process.env['NODE_LLAMA'];
  if (given !== undefined) return given;
  const folder = join(__dirname, '..', '..', '.cache', 'node-llama-cpp');
  if (!existsSync(join(folder, 'node_modules', 'node-llama-cpp'))) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    execFileSync('npm', ['install', 'node-llama-cpp@3.21.1', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' }); // prettier-ignore
  }
  return join(folder, 'node_modules');
}

/** What our own forward gives of the weights in a file, and the tokens of texts. */
async function ours(file: string, ids: number[]): Promise<{ shares: number[][]; tokens: number[][] }> {
  const opened = await OpenGguf.open(file, undefined);
  try {
    const { checkpoint, identity } = await opened.network();
    const { path, fields } = identity.config!;
    const logits = await run([ids])(openDecoder(checkpoint, new ConfigReader(path, fields), ids.length));
    const size = logits.length / ids.length;
    const shares = ids.map((_, i) => logShares(logits.subarray(i * size, (i + 1) * size)));
    const tokens = await opened.withTokenizer(async (folder) => {
      const tokenizer = await loadTokenizer(folder, 512);
      return prompts.map((prompt) => tokenizer.encode(prompt));
    });
    return { shares, tokens };
  } finally {
    await opened.file.close();
  }
}

function logShares(logits: Float32Array): number[] {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return Array.from(logits, (value) => value - most - total);
}

/** Mean divergence of the runtime's next tokens from ours, how often the most likely one is the same, and how far shares above 1 % are off. */
function compared(one: number[][], other: number[][]): { divergence: number; same: number; most: number } {
  let [divergence, same, most] = [0, 0, 0];
  for (const [i, p] of one.entries()) {
    const q = other[i]!;
    const best = (list: number[]) =>
      list.reduce((found, value, at) => (value > list[found]! ? at : found), 0);
    same += Number(best(p) === best(q));
    for (const [at, value] of p.entries()) {
      divergence += Math.exp(value) * (value - q[at]!);
      if (value > Math.log(0.01)) most = Math.max(most, Math.abs(value - q[at]!));
    }
  }
  return { divergence: divergence / one.length, same: same / one.length, most };
}

async function judge(runtime: Runtime, what: string, file: string, shows: boolean): Promise<void> {
  const ids = shows ? (await ours(file, [1])).tokens.flat().slice(0, 64) : Array.from({ length: 48 }, (_, i) => (i * i + 5 * i + 7) % 250); // prettier-ignore
  const own = await ours(file, ids);
  const other = await runtime.ask({ file, ids, prompts });
  const { divergence, same, most } = compared(own.shares, other.shares);
  const tokens = other.prompts.filter((found, i) => found.tokens.join() === withoutBegin(own.tokens[i]!, found.tokens).join()).length; // prettier-ignore
  console.log(
    `| ${what} | ${(statSync(file).size / 2 ** 20).toFixed(2)} MiB | ${divergence.toExponential(1)} | ${most.toFixed(4)} | ${(100 * same).toFixed(1)} % | ${tokens} of ${prompts.length} |`,
  );
  if (shows) for (const [i, { text }] of other.prompts.entries()) console.log(`  ${JSON.stringify(prompts[i])} → ${JSON.stringify(text)}`); // prettier-ignore
}

/** node-llama-cpp's `tokenize` puts no beginning before a text: that is for its contexts to do. */
const withoutBegin = (own: number[], found: number[]) =>
  own.length === found.length + 1 ? own.slice(1) : own;

async function main(): Promise<void> {
  const given = process.argv.slice(2);
  const files = given.filter((path) => path.endsWith('.gguf'));
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-gguf-'));
  const runtime = new Runtime();
  console.log('| model | size | KL divergence | largest Δ log p above 1 % | same next token | prompts with the same tokens |'); // prettier-ignore
  console.log('| --- | ---: | ---: | ---: | ---: | ---: |');
  try {
    for (const path of files) await judge(runtime, basename(path), path, true);
    for (const kind of kindNames.filter((name) => given.length === 0 || given.includes(name))) {
      // A name with "phi3" in it makes llama.cpp look for tokens that all Phi-3 have.
      const input = join(folder, `small-${kindNames.indexOf(kind)}`);
      writeSmall(input, kind, 'F16');
      const float = join(folder, `${kind}.f16.gguf`);
      await quantizeCheckpoint(input, float, { format: 'gguf:f16' });
      await judge(runtime, `${kind}, f16`, float, false);
      for (const format of ['gguf:q8_0', 'gguf:q4_0'] as const)
        for (const [from, what] of [
          [input, 'folder'],
          [float, 'GGUF'],
        ] as const) {
          const file = join(folder, `${kind}.${format.slice(5)}.${what}.gguf`);
          await quantizeCheckpoint(from, file, { format });
          await judge(runtime, `${kind}, ${format.slice(5)} from a ${what}`, file, false);
        }
    }
  } finally {
    runtime.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
