// npm run demo -- language: SmolLM2 in 3 bits, by the commands that README.md begins with, and how far that is from the float model on other text.
import { spawnSync } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { brownDocuments } from '../scripts/models/brown-corpus';
import { smolLm2Folder } from '../scripts/models/smollm2';

const root = join(__dirname, '..');
const folder = join(root, '.cache', 'demo');

/** Types a command as its user would. Throws where it fails. */
function vertexq(...words: string[]): void {
  const shown = words.map((word) => (word.startsWith(root) ? relative(process.cwd(), word) : word));
  console.error(`\n$ npx vertexq ${shown.join(' ')}`);
  const command = [join(root, 'dist', 'cli', 'main.js'), ...words];
  const { status } = spawnSync(process.execPath, command, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`vertexq ended with ${status}`);
}

export async function languageDemo(): Promise<void> {
  const model = await smolLm2Folder((text) => console.error(text));
  await mkdir(folder, { recursive: true });
  const documents = brownDocuments();
  // Of the Brown corpus every second document is for the fit, the others judge.
  const [texts, others] = ['texts.txt', 'other-texts.txt'].map((name) => join(folder, name)) as [
    string,
    string,
  ];
  for (const [i, path] of [texts, others].entries())
    await writeFile(path, `${documents.filter((_, k) => k % 2 === i).join('\n')}\n`);
  const [rounded, fitted] = ['rounded', 'fitted'].map((name) => join(folder, `SmolLM2-3bit-${name}`)) as [
    string,
    string,
  ];
  for (const output of [rounded, fitted]) await rm(output, { recursive: true, force: true });
  const width = ['--bits', '3', '--group-size', '64'];
  vertexq('quantize', model, '-o', rounded, ...width);
  // The default method, scales that are searched and all of the text take longer, and come nearer to the float model: docs/language.md.
  const quick = ['--samples', '8', '--method', 'gptq', '--scale', 'max'];
  vertexq('quantize', model, '-o', fitted, ...width, '--calibration', texts, ...quick);
  vertexq('eval', model, rounded, fitted, '--data', others, '--samples', '8');
}
