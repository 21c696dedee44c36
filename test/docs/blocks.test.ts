import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { startRedis } from '../fleet/redis';
import { asCommonJs, type Block, blocksOf, commandsOf } from './blocks';
import { type Workplace, workplace } from './workplace';

// Every block of the documents that says what a user types is run as it stands, in the order of the document. The models are small ones under
// the names that the documents use, so that sizes to be met are other ones.

const root = join(__dirname, '..', '..');
const documents = ['README.md', 'docs/budget.md', 'docs/calibration.md', 'docs/checkpoints.md', 'docs/fleet.md', 'docs/gguf.md', 'docs/language-models.md', 'docs/onnx.md', 'docs/quick-start.md', 'docs/report.md', 'docs/scripts.md']; // prettier-ignore

/** Commands of this repository's own: CI and the package's check run them. */
const own = /^npm (run (demo|redis|bench:\w+)|test|install (vertexq|bullmq))\b/;
/** In `python` stands what is done elsewhere; a line of `json` each is data. */
const languages = ['sh', 'js', 'json', 'python', '', 'text'];

const small: [RegExp, string][] = [
  [/100MB/g, '200kB'],
  [/2\.5MB/g, '9kB'],
];

/** Where commands find a queue. */
let queue: { VERTEXQ_REDIS_URL?: string } = {};

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const path = [join(cwd, '..', 'node_modules', '.bin'), process.env['PATH']].join(delimiter);
  const child = spawn(command, args, { cwd, env: { ...process.env, ...queue, PATH: path, NO_COLOR: '1' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0)
    throw new Error(`${[command, ...args].join(' ')}\nended with ${status}, having said:\n${output}`);
  return output;
}

/** Runs a line of shell where there are such a network and such data as it names. */
async function type(line: string, { rows, text, images }: Workplace): Promise<void> {
  const cwd = /photos\/|set\.safetensors/.test(line) ? images : /--tokenizer/.test(line) ? text : rows;
  // Lines that write to one name are alternatives.
  if (!/--dry-run/.test(line))
    for (const [, output] of line.matchAll(/\s(?:-o|--report|--plot) (\S+)/g))
      rmSync(join(cwd, output!), { recursive: true, force: true });
  // npx finds the program in node_modules/.bin, as the shell does here.
  await run('sh', ['-ec', small.reduce((all, [from, to]) => all.replace(from, to), line.replace(/^npx /, ''))], cwd); // prettier-ignore
}

async function runScript({ text }: Block, { rows }: Workplace): Promise<void> {
  for (const [name, code] of [
    ['block.mjs', text],
    ['block.cjs', asCommonJs(text)],
  ] as const) {
    for (const [, output] of code.matchAll(/(?:quantize\w+|planRun)\('[^']+', '([^']+)'/g))
      rmSync(join(rows, output!), { recursive: true, force: true });
    writeFileSync(join(rows, name), code);
    await run(process.execPath, [name], rows);
  }
}

/** A configuration file is used; other data is read. */
async function readJson({ text }: Block, at: Workplace): Promise<void> {
  if (!/"overrides"/.test(text)) {
    for (const line of text.split('\n').filter(Boolean)) JSON.parse(line);
    return;
  }
  writeFileSync(join(at.rows, 'own.config.json'), text);
  const model = /"activations"/.test(text) ? 'Llama-3.2-1B' : 'model.onnx';
  await type(`vertexq quantize ${model} -o configured --config own.config.json`, at);
}

for (const name of documents)
  test(`${name}: its blocks run as they stand`, async (t) => {
    const at = await workplace(t);
    if (name === 'docs/fleet.md') queue = { VERTEXQ_REDIS_URL: (await startRedis(t)).url };
    let count = 0;
    for (const block of blocksOf(readFileSync(join(root, name), 'utf8')))
      try {
        t.true(languages.includes(block.language), `a block of ${block.language}`);
        if (block.language === 'js') await runScript(block, at);
        else if (block.language === 'json') await readJson(block, at);
        else if (block.language === 'sh')
          for (const line of commandsOf(block).filter((text) => !own.test(text))) await type(line, at);
        else continue;
        count++;
      } catch (error) {
        t.fail(`${name}:${block.line}: ${(error as Error).message}`);
      }
    t.true(count > 0);
  });

test('a block has its language, its line, and its commands without comments', (t) => {
  const blocks = blocksOf('a\n```sh\n# all\nx --bits 4   # four\ny "#1"\n```\n\n```\nz\n```\n');
  t.deepEqual(blocks, [
    { language: 'sh', line: 3, text: '# all\nx --bits 4   # four\ny "#1"\n' },
    { language: '', line: 9, text: 'z\n' },
  ]);
  t.deepEqual(commandsOf(blocks[0]!), ['x --bits 4', 'y "#1"']);
});

test('a module becomes a script', (t) => {
  t.regex(
    asCommonJs("import { a, b as c } from 'vertexq';\nawait a(c);\n"),
    /^const \{ a, b: c \} = require\('vertexq'\);\n\(async \(\) => \{\n\nawait a\(c\);/,
  );
});
