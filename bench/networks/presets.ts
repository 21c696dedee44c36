// npm run bench:presets [-- mlp | cnn]: what presets cost and give on the MNIST networks; fills in the table of docs/networks.md, with both.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { presetNames } from '../../lib/options/presets';
import { aligned, fillIn, markdownTable } from '../document';
import { digitNetworks, digits, settings } from './digits';
import { measure } from './network';

const only = process.argv[2];

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-presets-'));
  const lines: string[][] = [];
  try {
    for (const name of digitNetworks.filter((each) => only === undefined || each === only))
      for (const preset of presetNames) {
        const { options } = settings['2 bits']!;
        const { cpuSeconds, error, accuracy } = await measure(
          digits(name, 1),
          { ...options, preset },
          folder,
        );
        lines.push([`${name}, ${preset}`, cpuSeconds!.toFixed(1), percent(error), percent(accuracy!)]);
        console.log(lines.at(-1)!.join('  '));
      }
  } finally {
    rmSync(folder, { recursive: true });
  }
  if (only !== undefined) return;
  const table = markdownTable(
    ['network, preset', 'CPU seconds', 'error of the outputs', 'right answers'],
    lines,
  );
  fillIn(join(__dirname, '..', '..', 'docs', 'networks.md'), 'presets', await aligned(table));
}

void main();
