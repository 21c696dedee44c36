// Python environments with readers in pinned versions, made once in .cache/readers (or the folder $VERTEXQ_READERS).
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Environment {
  name: string;
  /** What is installed, as pip takes it. */
  packages: string[];
  /** An environment whose packages it sees as well: PyTorch takes gigabytes. */
  base?: Environment;
}

const python = 'python3';
const folder = process.env['VERTEXQ_READERS'] ?? join(__dirname, '..', '..', '..', '.cache', 'readers');

const torch = (version: string): Environment => ({
  name: `torch-${version}`,
  packages: [`torch==${version}`, 'numpy==2.2.6', 'safetensors==0.6.2'],
});

const runtime = (version: string): Environment => ({
  name: `onnxruntime-${version}`,
  packages: [`onnxruntime==${version}`, 'numpy==2.2.6'],
});

const checker = (version: string): Environment => ({
  name: `onnx-${version}`,
  packages: [`onnx==${version}`, 'numpy==2.2.6'],
});

const transformers = (
  version: string,
  compressed: string,
  base: string,
  accelerate: string,
): Environment => ({
  name: `transformers-${version}-${compressed}`,
  packages: [`transformers==${version}`, `compressed-tensors==${compressed}`, `accelerate==${accelerate}`],
  base: torch(base),
});

export const runtimes = ['1.20.1', '1.23.2', '1.32.0'].map(runtime);
export const checkers = ['1.17.0', '1.23.2'].map(checker);
/** transformers with compressed-tensors, from the last of version 4 to what is current: each pair with a PyTorch that it takes. */
export const loaders = [
  transformers('4.57.6', '0.12.2', '2.8.0', '1.12.0'),
  transformers('4.57.6', '0.14.0', '2.8.0', '1.12.0'),
  transformers('5.0.0', '0.17.0', '2.15.0', '1.15.0'),
  transformers('5.24.0', '0.20.1', '2.15.0', '1.15.0'),
];

/** The environment's Python; where it is not there yet, it is made, which needs PyPI. */
export function pythonOf({ name, packages, base }: Environment): string {
  const place = join(folder, name);
  const [program, marker] = [join(place, 'bin', 'python'), join(place, 'packages.txt')];
  const wanted = `${packages.join('\n')}\n`;
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return program;
  if (base) pythonOf(base);
  console.error(`Installing ${packages.join(', ')} ...`);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run(python, ['-m', 'venv', place]);
  if (base) writeFileSync(join(packagesOf(program), '_base.pth'), `${packagesOf(pythonOf(base))}\n`);
  run(program, ['-m', 'pip', 'install', '--quiet', ...packages]);
  writeFileSync(marker, wanted);
  return program;
}

function packagesOf(program: string): string {
  return run(program, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']).trim();
}

function run(program: string, words: readonly string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Runs a script of this folder on jobs, a line of JSON to stdin; it answers each with one of its own. */
export function ask<Answer>(environment: Environment, script: string, jobs: readonly object[]): Answer[] {
  const output = execFileSync(pythonOf(environment), [join(__dirname, script)], {
    input: jobs.map((job) => `${JSON.stringify(job)}\n`).join(''),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
    env: { ...process.env, TOKENIZERS_PARALLELISM: 'false', HF_HUB_OFFLINE: '1', CUDA_VISIBLE_DEVICES: '' },
  });
  const answers = output
    .split('\n')
    .filter((line) => line.startsWith('{"answer":'))
    .map((line) => (JSON.parse(line) as { answer: Answer }).answer);
  if (answers.length !== jobs.length)
    throw new Error(`${environment.name}: ${answers.length} answers to ${jobs.length} jobs`);
  return answers;
}
