// npm run bench:formats [-- agreement | readers [networks] [compressed-tensors] [gptq]]: every development model in every format and width
// that it fits, loaded and run on real inputs beside the same weights as floats, into docs/onnx.md; and what we write in other readers,
// into docs/readers.md.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { quantizeModel, type ModelOptions } from '../../lib';
import { OutputErrorSum } from '../../lib/evaluate/output-error';
import type { ModelOutputs } from '../../lib/compare/types';
import { loadSession, runSession } from '../../lib/models/runtime';
import { aligned, fillIn, markdownTable } from '../document';
import { type DevelopmentModel, developmentModels } from './models';
import { tryReaders } from './readers';

const widths = [2, 3, 4, 8];
const groups: NonNullable<ModelOptions['groupSize']>[] = [32, 'channel'];
const document = join(__dirname, '..', '..', 'docs', 'onnx.md');

async function outputs(session: InferenceSession, model: DevelopmentModel): Promise<ModelOutputs[]> {
  const names = [...session.outputNames];
  const answers: ModelOutputs[] = [];
  for (const feeds of model.feeds) answers.push(await runSession(session, feeds, names, model.name));
  return answers;
}

/** How far the answers of `file` are from `wanted`, relative. Products are to be computed in float32. */
async function apart(
  file: string,
  model: DevelopmentModel,
  wanted: ModelOutputs[],
  foldWeights: boolean,
): Promise<number> {
  const session = await loadSession(file, model.name, { accuracyLevel: 1, foldWeights });
  try {
    const sum = new OutputErrorSum();
    for (const [i, answer] of (await outputs(session, model)).entries()) await sum.add(wanted[i]!, answer);
    return sum.result()!.error;
  } finally {
    await session.release();
  }
}

const short = (error: number) => (error === 0 ? '0' : error.toExponential(1));

async function rowsOf(model: DevelopmentModel, folder: string): Promise<string[][]> {
  const rows: string[][] = [];
  const file = join(folder, 'out.onnx');
  for (const groupSize of groups) {
    const cells = new Map<string, string[]>();
    for (const bits of widths) {
      const options: ModelOptions = { method: 'msq', bits, groupSize };
      await quantizeModel(model.path, file, { ...options, format: 'float' });
      const reference = await loadSession(file, model.name);
      const wanted = await outputs(reference, model);
      await reference.release();
      for (const format of ['matmulnbits', 'qdq'] as const) {
        await quantizeModel(model.path, file, { ...options, format });
        const errors: string[] = [];
        for (const fold of [true, false]) errors.push(short(await apart(file, model, wanted, fold)));
        const cell = errors.join(' / ');
        cells.set(format, [...(cells.get(format) ?? []), cell]);
        console.error(`${model.name}, ${format}, ${bits} bits, ${groupSize}: ${cell}`);
      }
    }
    const setting = groupSize === 'channel' ? 'per channel' : `groups of ${groupSize}`;
    for (const [format, line] of cells) rows.push([`${model.name}, ${format}, ${setting}`, ...line]);
  }
  return rows;
}

async function agreement(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vertexq-formats-'));
  try {
    const rows: string[][] = [];
    for (const model of await developmentModels()) rows.push(...(await rowsOf(model, folder)));
    const head = ['folded / as loaded', ...widths.map((bits) => `${bits} bits`)];
    const table = await aligned(markdownTable(head, rows));
    console.log(table);
    fillIn(document, 'agreement', table);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  const [name, ...rest] = process.argv.slice(2);
  if (name !== 'readers') await agreement();
  if (name !== 'agreement') await tryReaders(rest);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
