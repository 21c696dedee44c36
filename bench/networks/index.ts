// npm run bench:networks [-- --quick] [-- --sentences n] [-- --resume] [-- encoder digits ocr]: whole networks, into
// docs/networks.md. --quick: few runs on little data, and the document stays as it is. --resume: keeps the runs that
// docs/networks.json has, but those with fewer sentences. --sentences: as many for all settings of the encoder.
// --tables: makes no runs, and writes the document anew from those in docs/networks.json.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../document';
import { digits } from './digits';
import { sentenceEncoder, settings as encoderSettings, type Sizes } from './encoder';
import { floatScores, measure, type Network, samplesOf } from './network';
import { lineCounts, ocrRecognizer, quickLineCounts } from './ocr';
import { digitPlans, encoderPlans, ocrPlans, optionsOf, type Plan, type Result, sameRun } from './plan';
import { plotCosines } from './plot-cosines';
import { tablesOf, type Facts } from './tables';

const root = join(__dirname, '..', '..');
const document = join(root, 'docs', 'networks.md');
const numbers = join(root, 'docs', 'networks.json');
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const stages = ['digits', 'encoder', 'ocr'].filter(
  (stage, _, all) => words.includes(stage) || !all.some((name) => words.includes(name)),
);
const sentences = words.includes('--sentences') ? Number(words[words.indexOf('--sentences') + 1]) : null;

const sizesFor = (setting: string): Sizes =>
  quick
    ? { calibration: 300, holdout: 50, judged: 200 }
    : { calibration: sentences ?? encoderSettings[setting]!.sentences, holdout: 400, judged: 10_000 };

interface Kept {
  facts: Facts;
  runs: Result[];
}

async function kept(): Promise<Kept> {
  if (!words.includes('--resume') && !words.includes('--tables')) return { facts: {}, runs: [] };
  return JSON.parse(await readFile(numbers, 'utf8')) as Kept;
}

async function publish({ facts, runs }: Kept): Promise<void> {
  await keep(numbers, 'facts', facts);
  await keep(numbers, 'runs', runs);
  for (const [name, text] of Object.entries(tablesOf(runs, facts)))
    fillIn(document, name, await aligned(text));
  await plotCosines(join(root, 'docs', 'networks-cosine.svg'), runs);
}

/** Makes the runs that are not there yet. After each, the document has all that is known. */
async function make(known: Kept, plans: readonly Plan[], networkOf: (plan: Plan) => Promise<Network>) {
  const folder = await mkdtemp(join(tmpdir(), 'vertexq-networks-'));
  try {
    for (const [i, plan] of plans.entries()) {
      const network = await networkOf(plan);
      const before = known.runs.find((run) => sameRun(run, plan));
      if (before && before.samples >= samplesOf(network)) continue;
      const result = { ...plan, ...(await measure(network, optionsOf(plan), folder)) };
      known.runs = [...known.runs.filter((run) => run !== before), result];
      const { setting, method, grid, cosine, error, accuracy, characterError, seconds } = result;
      console.error(
        `${i + 1}/${plans.length} ${plan.network}, ${setting}, ${grid}, ${method}: cosine ${cosine.toFixed(4)}, ` +
          `error ${error.toFixed(4)}${accuracy === undefined ? '' : `, accuracy ${accuracy}`}` +
          `${characterError === undefined ? '' : `, character error ${characterError.toFixed(4)}`} (${seconds.toFixed(0)} s)`,
      );
      if (!quick) await publish(known);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

const makeAll: Record<string, (known: Kept) => Promise<void>> = {
  async encoder(known) {
    const networks = new Map<number, Network & { facts: string }>();
    await make(known, encoderPlans(quick), async ({ setting }) => {
      const sizes = sizesFor(setting);
      const network = networks.get(sizes.calibration) ?? (await sentenceEncoder(sizes));
      networks.set(sizes.calibration, network);
      known.facts.encoder = network.facts;
      return network;
    });
  },
  async digits(known) {
    const networks = new Map<string, Network>();
    await make(known, digitPlans(quick), async (plan) => {
      const name = plan.network as 'mlp' | 'cnn';
      const key = `${name} ${plan.draw}`;
      const network = networks.get(key) ?? digits(name, plan.draw);
      if (!networks.has(key)) known.facts[name] = (await floatScores(network)).accuracy!;
      networks.set(key, network);
      return network;
    });
  },
  async ocr(known) {
    const network = await ocrRecognizer(quick ? quickLineCounts : lineCounts);
    known.facts.ocr = { lines: network.facts, ...(await floatScores(network)) };
    await make(known, ocrPlans(quick), () => Promise.resolve(network));
  },
};

async function main(): Promise<void> {
  const known = await kept();
  if (words.includes('--tables')) await publish(known);
  else for (const stage of stages) await makeAll[stage]!(known);
  for (const [name, text] of Object.entries(tablesOf(known.runs, known.facts)))
    console.log(`\n${name}\n\n${await aligned(text)}`);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
