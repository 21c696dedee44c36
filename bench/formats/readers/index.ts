// Readers are tried, not assumed: what we write in every format, width, grid and grouping, loaded by every reader at hand. Fills in
// docs/readers.md, with all answers in docs/readers.json.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ModelOptions, quantizeCheckpoint, quantizeModel } from '../../../lib';
import { OutputErrorSum } from '../../../lib/evaluate/output-error';
import { loadSession, runSession } from '../../../lib/models/runtime';
import { shorten } from '../../../lib/reports/text';
import { makeCheckpoint } from '../../checkpoint/make';
import { aligned, fillIn, keep, markdownTable } from '../../document';
import { type DevelopmentModel, digitModels } from '../models';
import { ask, checkers, type Environment, loaders, runtimes } from './environments';

/** How far what a reader gives is from the same weights as floats; or why it does not take the file. */
type Answer = { error: number } | { failure: string };
type Answers = Map<string, Map<string, Answer>>;

const page = join(__dirname, '..', '..', '..', 'docs', 'readers.md');
const widths = [2, 3, 4, 8];
const grids = ['asymmetric', 'integer'] as const;
const groups = [32, 'channel'] as const;
/** Sums of float32 in another order. */
const tolerance = 1e-4;

interface Choice<Format> {
  title: string;
  options: {
    format: Format;
    bits: number;
    grid: 'asymmetric' | 'integer';
    groupSize: 32 | 'channel';
    method: 'msq';
  };
}

function choices<Format extends string>(formats: readonly Format[]): Choice<Format>[] {
  return formats.flatMap((format) =>
    widths.flatMap((bits) =>
      grids.flatMap((grid) =>
        groups.map((groupSize) => ({
          title: `${format}, ${bits} bits, ${grid}, ${groupSize === 'channel' ? 'per channel' : `groups of ${groupSize}`}`,
          options: { format, bits, grid, groupSize, method: 'msq' as const },
        })),
      ),
    ),
  );
}

function note(answers: Answers, choice: string, reader: string, answer: Answer): void {
  const line = answers.get(choice) ?? new Map<string, Answer>();
  answers.set(choice, line);
  const known = line.get(reader);
  // The worst of several networks.
  if (known && ('failure' in known || ('error' in answer && answer.error <= known.error))) return;
  line.set(reader, answer);
}

interface Job {
  choice: string;
  file: string;
  input: string;
  data: string;
  dims: readonly number[];
  expected: string;
}

async function onnx(folder: string): Promise<Answers> {
  const jobs: Job[] = [];
  const answers: Answers = new Map();
  const { version } = JSON.parse(readFileSync(require.resolve('onnxruntime-node/package.json'), 'utf8')) as {
    version: string;
  };
  const refused = (choice: string, error: unknown) => {
    for (const reader of [`onnxruntime-node ${version}`, ...[...runtimes, ...checkers].map(titleOf)])
      note(answers, choice, reader, { failure: `not written: ${(error as Error).message}` });
  };
  for (const model of digitModels())
    for (const { title, options } of choices(['matmulnbits', 'qdq'] as const)) {
      const file = join(folder, `${jobs.length}.onnx`);
      try {
        await quantizeModel(model.path, file, options);
      } catch (error) {
        refused(title, error);
        continue;
      }
      const job = {
        choice: title,
        file,
        ...(await reference(model, options, join(folder, String(jobs.length)))),
      };
      jobs.push(job);
      note(answers, title, `onnxruntime-node ${version}`, await inNode(model, job));
    }
  for (const [script, environments] of [
    ['run_onnx.py', runtimes],
    ['check_onnx.py', checkers],
  ] as const)
    for (const environment of environments)
      for (const [i, answer] of ask<Answer>(environment, script, jobs).entries())
        note(answers, jobs[i]!.choice, titleOf(environment), answer);
  return answers;
}

/** The same weights as floats, run once: inputs and outputs in files. */
async function reference(
  model: DevelopmentModel,
  options: ModelOptions,
  stem: string,
): Promise<Omit<Job, 'choice' | 'file'>> {
  const float = `${stem}.float.onnx`;
  await quantizeModel(model.path, float, { ...options, format: 'float' });
  const session = await loadSession(float, model.name);
  const [feeds] = model.feeds;
  const answer = await runSession(session, feeds!, [session.outputNames[0]!], model.name);
  await session.release();
  const [input, tensor] = Object.entries(feeds!)[0]!;
  const job = { input, data: `${stem}.in`, dims: tensor.dims, expected: `${stem}.out` };
  writeFileSync(job.data, bytesOf(tensor.data as Float32Array));
  writeFileSync(job.expected, bytesOf(answer[session.outputNames[0]!]!.data as Float32Array));
  return job;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

async function inNode(model: DevelopmentModel, { file, expected }: Job): Promise<Answer> {
  try {
    const session = await loadSession(file, model.name, { accuracyLevel: 1, foldWeights: false });
    try {
      const name = session.outputNames[0]!;
      const answer = await runSession(session, model.feeds[0]!, [name], model.name);
      const wanted = readFileSync(expected);
      const data = new Float32Array(wanted.buffer, wanted.byteOffset, wanted.length / 4);
      const sum = new OutputErrorSum();
      await sum.add({ [name]: { ...answer[name]!, data } }, answer);
      return { error: sum.result()!.error };
    } finally {
      await session.release();
    }
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

async function checkpoints(folder: string): Promise<Answers> {
  const input = join(folder, 'llama');
  await makeCheckpoint(
    input,
    { hidden: 256, intermediate: 704, layers: 2, vocabulary: 1000, giant: null },
    'F32',
  );
  const answers: Answers = new Map();
  const jobs: { choice: string; folder: string; reference: string }[] = [];
  for (const { title, options } of choices(['compressed-tensors'] as const)) {
    const place = join(folder, `checkpoint-${jobs.length}`);
    const job = { choice: title, folder: place, reference: `${place}-float` };
    try {
      await quantizeCheckpoint(input, job.folder, options);
    } catch (error) {
      for (const loader of loaders)
        note(answers, title, titleOf(loader), { failure: `not written: ${(error as Error).message}` });
      continue;
    }
    await quantizeCheckpoint(input, job.reference, { ...options, format: 'float' });
    jobs.push(job);
  }
  for (const loader of loaders)
    for (const [i, answer] of ask<Answer>(loader, 'load_checkpoint.py', jobs).entries())
      note(answers, jobs[i]!.choice, titleOf(loader), answer);
  return answers;
}

function titleOf({ packages }: Environment): string {
  return packages
    .map((pinned) => pinned.split('=='))
    .filter(([name]) => ['onnxruntime', 'onnx', 'transformers', 'compressed-tensors'].includes(name!))
    .map(([name, version]) => (name === 'onnx' ? `onnx.checker ${version}` : `${name} ${version}`))
    .join(', ');
}

/** One footnote for each kind of failure: numbers and names of single tensors make no other kind. */
function tableOf(answers: Answers, foot: Map<string, string>): string {
  const readers = [...new Set([...answers.values()].flatMap((line) => [...line.keys()]))];
  const cell = (answer: Answer | undefined): string => {
    if (!answer) return '–';
    if ('error' in answer)
      return answer.error <= tolerance ? 'yes' : `loads, ${answer.error.toExponential(1)} off`;
    const words = answer.failure.replaceAll(/\/\S*\/|"[^"]*"|'[^']*'/g, '…').replaceAll(/\s+|\|/g, ' ');
    // What it is about stands at either end.
    const text = shorten(words, 240);
    if (!foot.has(text)) foot.set(text, String(foot.size + 1));
    return `no (${foot.get(text)})`;
  };
  const lines = [...answers].map(([choice, line]) => [
    choice,
    ...readers.map((reader) => cell(line.get(reader))),
  ]);
  return markdownTable(['', ...readers], lines);
}

/** Tries all readers, and says so in docs/readers.md. */
export async function tryReaders(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-readers-'));
  try {
    for (const [name, make] of [
      ['networks', onnx],
      ['checkpoints', checkpoints],
    ] as const) {
      const answers = await make(folder);
      const foot = new Map<string, string>();
      const notes = (table: string) =>
        [table, '', ...[...foot].map(([text, n]) => `- (${n}) ${text.replaceAll(/[<>*_]/g, '\\$&')}`)].join(
          '\n',
        );
      const text = await aligned(notes(tableOf(answers, foot)));
      console.log(text);
      fillIn(page, name, text);
      await keep(
        page.replace(/md$/, 'json'),
        name,
        Object.fromEntries([...answers].map(([choice, line]) => [choice, Object.fromEntries(line)])),
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
