// The OCR recognizer's part of docs/networks.md.
import { markdownTable } from '../document';
import type { Scores } from './network';
import { settings } from './ocr';
import type { MethodName, Result } from './plan';

export interface OcrFacts extends Scores {
  /** What the network was calibrated on and judged by. */
  lines: string;
}

const judges: MethodName[] = ['vertex', 'gptq', 'msq', 'msq, largest-weight scale'];
const missing = '–';
const percent = (share: number | undefined): string =>
  share === undefined ? missing : (100 * share).toFixed(2);

export function ocrTables(runs: readonly Result[], facts: OcrFacts | undefined): Record<string, string> {
  const table = (title: string, cell: (run: Result) => string): string =>
    markdownTable(
      [title, ...judges],
      Object.keys(settings).map((setting) => [
        setting,
        ...judges.map((method) => {
          const run = runs.find(
            (one) => one.network === 'ocr' && one.setting === setting && one.method === method,
          );
          return run ? cell(run) : missing;
        }),
      ]),
    );
  return {
    lines: facts
      ? `${facts.lines} The float network: ${percent(facts.characterError)} % character error, ${percent(facts.linesRight)} % of the lines right.`
      : missing,
    characters: table('character error, %', ({ characterError }) => percent(characterError)),
    right: table('lines right, %', ({ linesRight }) => percent(linesRight)),
    probabilities: table('error of the probabilities', ({ error }) => error.toFixed(4)),
  };
}
