// npm run bench:budget [-- --write] [--samples=48] [digits] [encoder] [ocr] [<folder of a language model> <texts.txt> <other texts.txt> [gguf]]: one width for all layers against widths layer by layer in as many
// bytes. --write: into docs/budget.json.
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  evaluateCheckpoint,
  evaluateModel,
  type ModelOptions,
  quantizeCheckpoint,
  quantizeModel,
} from '../../lib';
import type { CheckpointOptions } from '../../lib/checkpoints/types';
import { measureCheckpoint } from '../../lib/checkpoints/measure-sensitivity';
import { measureModel } from '../../lib/models/measure-sensitivity';
import type { BudgetReport } from '../../lib/sensitivity/choose';
import { widthName } from '../../lib/sensitivity/types';
import { aligned, keep, markdownTable } from '../document';
import { digitNetworks, digits } from '../networks/digits';
import { sentenceEncoder } from '../networks/encoder';
import type { Network } from '../networks/network';
import { ocrRecognizer } from '../networks/ocr';

const words = process.argv.slice(2);
const isWritten = words.includes('--write');
const asked = words.filter((word) => !word.startsWith('--'));
/** Windows of 256 tokens: `--samples=16`. */
const samples = Number(words.find((word) => word.startsWith('--samples='))?.slice(10) ?? 48);

/** A size, in one width and in several. */
interface Row {
  network: string;
  uniform: string;
  bytes: { uniform: number; chosen: number };
  /** How far outputs are from the float network's: KL divergence, or relative error. */
  measure: 'KL divergence' | 'relative error';
  found: { uniform: number; chosen: number };
  /** What the sensitivity foretold, in its unit. */
  foretold: number;
  widths: string[];
  seconds: { sensitivity: number };
}

const widthsOf = ({ overrides }: BudgetReport) =>
  overrides.map(({ layers, ...width }) => `${widthName(width)}: ${layers.length}`);

async function inFolder<Result>(use: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'budget-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const areShares = ({ output }: Network) => output.startsWith('softmax');
const isDistribution = (network: Network) => network.output === 'logits' || areShares(network);

/** Of logits the mean divergence of their softmax, of what a softmax gives its own; else the relative error. */
async function judged(network: Network, quantized: string): Promise<number> {
  const distributions = (outputs: readonly Record<string, { data: unknown; dims: readonly number[] }>[]) =>
    outputs.flatMap((own) => {
      const { data, dims } = own[network.output]!;
      const size = dims.at(-1)!;
      const values = data as Float32Array;
      const logs = areShares(network) ? (own: Float32Array) => [...own].map((share) => Math.log(Math.max(share, 1e-30))) : logSoftmax; // prettier-ignore
      return Array.from({ length: values.length / size }, (_, row) => logs(values.subarray(row * size, (row + 1) * size))); // prettier-ignore
    });
  const all: number[][][] = [];
  const isLogits = isDistribution(network);
  const { outputs } = await evaluateModel(network.path, quantized, {
    ...{ data: network.judged, runs: 0 },
    ...(isLogits && { score: (own) => (all.push(distributions(own)), 0) }),
  });
  if (!isLogits) return outputs.find(({ name }) => name === network.output)!.error!;
  const [float, own] = all as [number[][], number[][]];
  const sum = float.reduce((total, p, i) => total + p.reduce((part, log, j) => part + Math.exp(log) * (log - own[i]![j]!), 0), 0); // prettier-ignore
  return sum / float.length;
}

function logSoftmax(values: Float32Array): number[] {
  const most = Math.max(...values);
  const sum = Math.log([...values].reduce((total, value) => total + Math.exp(value - most), 0)) + most;
  return [...values].map((value) => value - sum);
}

async function ofNetwork(name: string, network: Network, widths: readonly ModelOptions[]): Promise<Row[]> {
  const data: ModelOptions = { calibration: network.calibration, holdout: network.holdout };
  const method = { method: 'gptq' } as const;
  const sensitivity = await measureModel(network.path, { ...data, ...method });
  return inFolder(async (folder) => {
    const rows: Row[] = [];
    for (const own of widths) {
      const [uniform, chosen] = [join(folder, 'uniform.onnx'), join(folder, 'chosen.onnx')];
      const one = await quantizeModel(network.path, uniform, { ...data, ...method, ...own });
      const { bytes, budget } = await quantizeModel(network.path, chosen, { ...data, ...method, targetSize: one.bytes.after, sensitivity }); // prettier-ignore
      rows.push({
        ...{ network: name, uniform: widthName({ bits: own.bits!, groupSize: own.groupSize! }) },
        bytes: { uniform: one.bytes.after, chosen: bytes.after },
        measure: isDistribution(network) ? 'KL divergence' : 'relative error',
        found: { uniform: await judged(network, uniform), chosen: await judged(network, chosen) },
        foretold: budget!.change,
        widths: widthsOf(budget!),
        seconds: { sensitivity: sensitivity.seconds },
      });
      console.log(JSON.stringify(rows.at(-1)));
    }
    return rows;
  });
}

async function ofLanguageModel(
  input: string,
  texts: string,
  others: string,
  format: CheckpointOptions['format'],
): Promise<Row[]> {
  const common: CheckpointOptions = { calibration: texts, method: 'gptq', samples, sequenceLength: 256 };
  const isGguf = format === 'gguf';
  const inChosen: CheckpointOptions = isGguf ? { ...common, format } : { ...common, groupSize: 64 };
  const sensitivity = await measureCheckpoint(input, { ...inChosen, ...(isGguf && { targetBits: 4 }) });
  const uniform: CheckpointOptions[] = isGguf
    ? (['gguf:q4_0', 'gguf:q4_1', 'gguf:q5_0'] as const).map((own) => ({ ...common, format: own }))
    : ([3, 4] as const).map((bits) => ({ ...inChosen, bits }));
  const suffix = isGguf ? '.gguf' : '';
  return inFolder(async (folder) => {
    const rows: Row[] = [];
    for (const own of uniform) {
      const [first, second] = [join(folder, `uniform${suffix}`), join(folder, `chosen${suffix}`)];
      const one = await quantizeCheckpoint(input, first, own);
      const { bytes, budget } = await quantizeCheckpoint(input, second, { ...inChosen, targetSize: one.bytes.after, sensitivity }); // prettier-ignore
      const { checkpoints } = await evaluateCheckpoint(input, [first, second], { data: others, samples: Math.ceil(samples / 2), sequenceLength: 256 }); // prettier-ignore
      const [before, after] = checkpoints.map(({ klDivergence }) => klDivergence.mean) as [number, number];
      rows.push({
        ...{
          network: input.split('/').at(-1)!,
          uniform: isGguf ? own.format! : widthName({ bits: own.bits!, groupSize: 64 }),
        },
        bytes: { uniform: one.bytes.after, chosen: bytes.after },
        ...{ measure: 'KL divergence', found: { uniform: before, chosen: after }, foretold: budget!.change },
        ...{ widths: widthsOf(budget!), seconds: { sensitivity: sensitivity.seconds } },
      });
      console.log(JSON.stringify(rows.at(-1)));
      for (const path of [first, second]) if (await stat(path).then(() => true, () => false)) await rm(path, { recursive: true }); // prettier-ignore
    }
    return rows;
  });
}

const digit = (value: number) => value.toPrecision(3);

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ network, uniform, bytes, measure, found, widths, foretold }) => [
    ...[network, uniform, (bytes.uniform / 1000).toFixed(0), (bytes.chosen / 1000).toFixed(0), measure],
    ...[digit(found.uniform), digit(found.chosen), digit(foretold), widths.join('; ')],
  ]);
  return markdownTable(['network', 'one width', 'kB', 'kB, chosen', 'measure', 'one width', 'chosen', 'foretold', 'layers of each width'], lines); // prettier-ignore
}

async function main(): Promise<void> {
  const [input, texts, others, format] = asked.filter((word) => !['digits', 'encoder', 'ocr'].includes(word));
  const parts: [name: string, rows: Row[]][] = [];
  if (asked.includes('digits'))
    for (const name of digitNetworks)
      parts.push([`mnist-${name}`, await ofNetwork(`MNIST ${name}`, digits(name, 1), [{ bits: 2, groupSize: 32 }, { bits: 4, groupSize: 32 }])]); // prettier-ignore
  if (asked.includes('encoder')) {
    const network = await sentenceEncoder({ calibration: 1500, holdout: 150, judged: 500 });
    parts.push(['encoder', await ofNetwork('sentence encoder', network, [{ bits: 2, groupSize: 32 }, { bits: 4, groupSize: 32 }])]); // prettier-ignore
  }
  if (asked.includes('ocr')) {
    const network = await ocrRecognizer({ calibration: 200, holdout: 40, judged: 200 });
    parts.push(['ocr', await ofNetwork('OCR recognizer', network, [{ bits: 2, groupSize: 32 }, { bits: 4, groupSize: 32 }])]); // prettier-ignore
  }
  if (input !== undefined && texts !== undefined && others !== undefined)
    parts.push([format === undefined ? 'language' : 'gguf', await ofLanguageModel(input, texts, others, format as 'gguf' | undefined)]); // prettier-ignore
  for (const [name, rows] of parts) {
    const text = await aligned(table(rows));
    console.log(text);
    if (!isWritten) continue;
    await keep(join(__dirname, '..', '..', 'docs', 'budget.json'), name, rows);
  }
}

void main();
