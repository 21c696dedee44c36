// SmolLM2 quantized with the tokens of half of the Brown corpus's documents, and judged by others.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, evaluateCheckpoint } from '../../lib';
import { brownDocuments } from '../../scripts/models/brown-corpus';
import { smolLm2Folder } from '../../scripts/models/smollm2';
import { quantize, type Run } from '../checkpoint/measure';
import { grid, methods, nameOf, type Plan } from './plan';

export const windowLength = 512;
/** What is made is kept here, so that a run that was stopped goes on with it. */
const folder = join(__dirname, '..', '..', '.cache', 'bench-language');

export interface Judged {
  judgedTokens: number;
  documents: number;
  /** Of the float network and of this one. */
  perplexity: { float: number; quantized: number };
  kl: { mean: number; standardError: number | null; p999: number };
  sameNextToken: number;
}

export interface Result extends Plan, Judged {
  seconds: number;
  cpu: number;
  fitSeconds: number;
  /** Peak, bytes. */
  rss: number;
  /** Of the files of weights. */
  bytes: number;
}

/** Every second document is for calibration, the others judge. A document a line. */
export function texts(): { calibration: string; judged: string } {
  mkdirSync(folder, { recursive: true });
  const documents = brownDocuments();
  const [calibration, judged] = [0, 1].map((rest) => {
    const path = join(folder, rest === 0 ? 'calibration.txt' : 'judged.txt');
    writeFileSync(path, `${documents.filter((_, i) => i % 2 === rest).join('\n')}\n`);
    return path;
  }) as [string, string];
  return { calibration, judged };
}

const outputOf = (plan: Plan) => join(folder, nameOf(plan).replace(/, | /g, '-'));

/** Quantizes the model in a process of its own, or says what an earlier run took. */
export async function quantized(plan: Plan): Promise<Run> {
  const { bits, groupSize, method, tokens } = plan;
  const output = outputOf(plan);
  const kept = `${output}.json`;
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, 'utf8')) as Run;
  const data = {
    calibration: texts().calibration,
    sequenceLength: windowLength,
    samples: Math.round(tokens / windowLength),
  };
  const options: CheckpointOptions = {
    ...{ ...methods[method], grid, bits, groupSize },
    ...(method === 'msq' ? {} : data),
  };
  const run = quantize(await smolLm2Folder(), output, options);
  writeFileSync(kept, JSON.stringify(run));
  return run;
}

/** Judges what `quantized` has made of plans, all beside one float network. */
export async function judge(plans: readonly Plan[], tokens: number): Promise<Result[]> {
  const evaluation = await evaluateCheckpoint(await smolLm2Folder(), plans.map(outputOf), {
    data: texts().judged,
    sequenceLength: windowLength,
    samples: Math.round(tokens / windowLength),
  });
  const results: Result[] = [];
  for (const [i, plan] of plans.entries()) {
    const found = evaluation.checkpoints[i]!;
    const { seconds, cpu, rss, fits } = await quantized(plan);
    results.push({
      ...plan,
      ...{ seconds, cpu, rss, fitSeconds: fits.reduce((sum, own) => sum + own.seconds, 0) },
      bytes: found.bytes,
      documents: evaluation.data.documents,
      judgedTokens: found.tokens,
      perplexity: { float: found.perplexity.float.mean, quantized: found.perplexity.quantized.mean },
      kl: {
        mean: found.klDivergence.mean,
        standardError: found.klDivergence.standardError,
        p999: found.klDivergence999,
      },
      sameNextToken: found.sameNextToken.mean,
    });
  }
  return results;
}
