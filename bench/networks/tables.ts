// The tables of docs/networks.md, of the runs there are so far: a dash stands for one that is missing.
import { markdownTable } from '../document';
import { digitNetworks, settings as digitSettings } from './digits';
import { settings as encoderSettings } from './encoder';
import { type MethodName, methods, type Plan, type Result } from './plan';
import { type OcrFacts, ocrTables } from './tables-ocr';

export interface Facts {
  /** What the encoder was calibrated on and judged by. */
  encoder?: string;
  /** Right answers of the float networks. */
  mlp?: number;
  cnn?: number;
  ocr?: OcrFacts;
}

const missing = '–';
type Wanted = Partial<Pick<Plan, 'network' | 'setting' | 'method' | 'grid'>>;

/** The runs that are as wanted: several where there are several draws of the data. */
export function find(runs: readonly Result[], wanted: Wanted): Result[] {
  return runs.filter((run) =>
    Object.entries(wanted).every(([key, value]) => run[key as keyof Wanted] === value),
  );
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const meanText = (values: readonly number[], digits: number): string =>
  values.length === 0 ? missing : mean(values).toFixed(digits);

/** A setting's own grid, on which all methods are. */
const encoderRuns = (runs: readonly Result[], setting: string, method: MethodName): Result[] =>
  find(runs, { network: 'encoder', setting, method, grid: encoderSettings[setting]!.options.grid! });

/** The run whose amount of data is a setting's. */
const usualRun = (runs: readonly Result[], setting: string): Result | undefined =>
  encoderRuns(runs, setting, 'vertex')[0] ?? find(runs, { network: 'encoder', setting })[0];

/** The value of a run, and its number of sentences where that is not the setting's: `--resume` may have kept runs of another. */
function encoderCell(
  runs: readonly Result[],
  setting: string,
  method: MethodName,
  value: 'cosine' | 'error',
): string {
  const run = encoderRuns(runs, setting, method)[0];
  if (!run) return missing;
  const usual = usualRun(runs, setting)!.samples;
  return `${run[value].toFixed(4)}${run.samples === usual ? '' : ` (${run.samples.toLocaleString('en')})`}`;
}

/** Mean cosine, or relative error, of every method at every setting. */
function encoderTable(runs: readonly Result[], value: 'cosine' | 'error'): string {
  const settings = Object.entries(encoderSettings);
  const counts = (of: (run: Result) => number): string[] =>
    settings.map(([setting]) => {
      const run = usualRun(runs, setting);
      return run ? of(run).toLocaleString('en') : missing;
    });
  return markdownTable(
    [value, ...settings.map(([name, { options }]) => `${name}, ${options.grid}`)],
    [
      ...(Object.keys(methods) as MethodName[]).map((method) => [
        method,
        ...settings.map(([setting]) => encoderCell(runs, setting, method, value)),
      ]),
      ['_calibration sentences_', ...counts(({ samples }) => samples)],
      ['_their token rows_', ...counts(({ layers }) => layers[0]!.rows)],
      ['_sentences that judge_', ...counts(({ rows }) => rows)],
    ],
  );
}

function targetsTable(runs: readonly Result[]): string {
  const lines = Object.entries(encoderSettings).map(([setting, { target, rival }]) => {
    const cosine = encoderRuns(runs, setting, 'vertex')[0]?.cosine;
    const goal = (1 + rival) / 2;
    const reached = (limit: number): string =>
      cosine === undefined ? missing : cosine >= limit ? 'yes' : `no, by ${(limit - cosine).toFixed(4)}`;
    return [
      setting,
      cosine?.toFixed(4) ?? missing,
      target.toFixed(4),
      reached(target),
      goal.toFixed(4),
      reached(goal),
    ];
  });
  return markdownTable(['', 'vertex', 'target', 'reached', 'half the distance to 1', 'reached'], lines);
}

function gridsTable(runs: readonly Result[]): string {
  const grids = ['asymmetric', 'zero-free'] as const;
  const settings = Object.keys(encoderSettings).filter((setting) => !setting.startsWith('4'));
  return markdownTable(
    ['vertex, cosine', ...grids],
    settings.map((setting) => [
      setting,
      ...grids.map((grid) =>
        meanText(
          find(runs, { network: 'encoder', setting, method: 'vertex', grid }).map(({ cosine }) => cosine),
          4,
        ),
      ),
    ]),
  );
}

/** The whole network's error with and without error correction. */
function correctionTable(runs: readonly Result[]): string {
  const cases = [
    { network: 'encoder', setting: '3 bits, per channel', label: 'encoder, 3 bits' },
    ...digitNetworks.map((network) => ({ network, setting: '2 bits', label: `${network}, 2 bits` })),
  ] as const;
  const lines = cases.flatMap(({ network, setting, label }) =>
    (['vertex', 'gptq'] as const).map((method) => {
      const of = (name: MethodName, value: 'cosine' | 'error'): string =>
        network === 'encoder'
          ? encoderCell(runs, setting, name, value)
          : meanText(
              find(runs, { network, setting, method: name }).map((run) => run[value]),
              4,
            );
      const corrected = method;
      const plain = `${method}, uncorrected` as const;
      return [
        `${label}, ${method}`,
        of(plain, 'error'),
        of(corrected, 'error'),
        of(plain, 'cosine'),
        of(corrected, 'cosine'),
      ];
    }),
  );
  return markdownTable(['', 'error without', 'error with', 'cosine without', 'cosine with'], lines);
}

const judges = ['vertex', 'gptq', 'msq'] as const;

function digitLines(cells: (setting: Wanted) => string[]): string[][] {
  return digitNetworks.flatMap((network) =>
    Object.keys(digitSettings).map((setting) => [`${network}, ${setting}`, ...cells({ network, setting })]),
  );
}

/** Mean and standard error over the draws, which the methods share. */
function difference(a: readonly Result[], b: readonly Result[]): string {
  if (a.length === 0 || a.length !== b.length) return missing;
  const values = a.map((run, i) => 100 * (run.accuracy! - b[i]!.accuracy!));
  const middle = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
  const spread = values.length > 1 ? ` ± ${Math.sqrt(variance / values.length).toFixed(2)}` : '';
  return `${middle.toFixed(2)}${spread}`;
}

/** Right answers in %, ± what the choice of 10,000 test images leaves open. */
function accuracyTable(runs: readonly Result[]): string {
  const cell = (of: readonly Result[]): string => {
    if (of.length === 0) return missing;
    const share = mean(of.map(({ accuracy }) => accuracy!));
    return `${(100 * share).toFixed(2)} ± ${(100 * Math.sqrt((share * (1 - share)) / 10_000)).toFixed(2)}`;
  };
  return markdownTable(
    ['right answers, %', ...judges, 'vertex − gptq', 'gptq − msq'],
    digitLines((wanted) => {
      const [vertex, gptq, msq] = judges.map((method) => find(runs, { ...wanted, method }));
      return [
        ...[vertex, gptq, msq].map((of) => cell(of!)),
        difference(vertex!, gptq!),
        difference(gptq!, msq!),
      ];
    }),
  );
}

function logitsTable(runs: readonly Result[]): string {
  return markdownTable(
    ['error of the logits', ...judges],
    digitLines((wanted) =>
      judges.map((method) =>
        meanText(
          find(runs, { ...wanted, method }).map(({ error }) => error),
          4,
        ),
      ),
    ),
  );
}

export function tablesOf(runs: readonly Result[], { encoder, mlp, cnn, ocr }: Facts): Record<string, string> {
  const share = (value: number | undefined): string =>
    value === undefined ? missing : `${(100 * value).toFixed(2)} %`;
  const draws = new Set(find(runs, { network: 'mlp' }).map(({ draw }) => draw)).size;
  return {
    data: encoder ?? missing,
    cosine: encoderTable(runs, 'cosine'),
    error: encoderTable(runs, 'error'),
    targets: targetsTable(runs),
    grids: gridsTable(runs),
    correction: correctionTable(runs),
    float:
      `Right answers of the float networks: ${share(mlp)} (mlp) and ${share(cnn)} (cnn). ` +
      `Numbers below are means over as many draws of the training images: ${draws || missing}.`,
    accuracy: accuracyTable(runs),
    logits: logitsTable(runs),
    ...ocrTables(runs, ocr),
  };
}
