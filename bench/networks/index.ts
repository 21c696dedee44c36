// npm run bench:networks [-- --quick] [-- --sentences n] [-- --resume] [-- encoder digits]: whole networks, into docs/networks.md.
// --quick: few runs on little data, and the document stays as it is. --resume: keeps the runs that docs/networks.json
// has, but those with fewer sentences.
// --tables: makes no runs, and writes the document anew from those in docs/networks.json.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../document';
import { digits } from './digits';
import { sentenceEncoder, type Sizes } from './encoder';
import { floatAccuracy, measure, type Network, samplesOf } from './network';
import { digitPlans, encoderPlans, optionsOf, type Plan, type Result, sameRun } from './plan';
import { plotCosines } from './plot-cosines';
import { tablesOf, type Facts } from './tables';

const root = join(__dirname, '..', '..');
const document = join(root, 'docs', 'networks.md');
const numbers = join(root, 'docs', 'networks.json');
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const stages = ['digits', 'encoder'].filter(
  (stage, _, all) => words.includes(stage) || !all.some((name) => words.includes(name)),
);
const sizes: Sizes = quick
  ? { calibration: 300, holdout: 50, judged: 200 }
  : {
      calibration: words.includes('--sentences') ? Number(words[words.indexOf('--sentences') + 1]) : 6000,
      holdout: 400,
      judged: 10_000,
    };

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
      const { setting, method, grid, cosine, error, accuracy, seconds } = result;
      console.error(
        `${i + 1}/${plans.length} ${plan.network}, ${setting}, ${grid}, ${method}: cosine ${cosine.toFixed(4)}, ` +
          `error ${error.toFixed(4)}${accuracy === null ? '' : `, accuracy ${accuracy}`} (${seconds.toFixed(0)} s)`,
      );
      if (!quick) await publish(known);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

const makeAll: Record<string, (known: Kept) => Promise<void>> = {
  async encoder(known) {
    const network = await sentenceEncoder(sizes);
    known.facts.encoder = network.facts;
    await make(known, encoderPlans(quick), () => Promise.resolve(network));
  },
  async digits(known) {
    const networks = new Map<string, Network>();
    await make(known, digitPlans(quick), async (plan) => {
      const name = plan.network as 'mlp' | 'cnn';
      const key = `${name} ${plan.draw}`;
      const network = networks.get(key) ?? (await digits(name, plan.draw));
      networks.set(key, network);
      known.facts[name] = floatAccuracy(network)!;
      return network;
    });
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
