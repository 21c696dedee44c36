// Readers are tried, not assumed: what we write in every format, width, grid and grouping, loaded by every reader at hand. Fills in
// docs/readers.md, with all answers in docs/readers.json.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../../document';
import type { Answers } from './answers';
import { tryCompressed, tryGptq } from './checkpoints';
import { tryDecoders } from './decoders';
import { tryNetworks } from './networks';

const page = join(__dirname, '..', '..', '..', 'docs', 'readers.md');

const parts: Record<string, { head: string[]; attempt: (folder: string) => Promise<Answers> }> = {
  networks: { head: ['format', 'network', 'grid', 'groups of'], attempt: tryNetworks },
  'compressed-tensors': { head: ['weights', 'grid', 'groups of'], attempt: tryCompressed },
  decoders: { head: ['architecture', 'weights'], attempt: tryDecoders },
  gptq: { head: ['format', 'weights', 'grid', 'groups of'], attempt: tryGptq },
};

/** Tries all readers, or those of some parts, and says so in docs/readers.md. */
export async function tryReaders(only: readonly string[] = []): Promise<void> {
  for (const [name, { head, attempt }] of Object.entries(parts)) {
    if (only.length > 0 && !only.includes(name)) continue;
    const folder = mkdtempSync(join(tmpdir(), 'vertexq-readers-'));
    try {
      const answers = await attempt(folder);
      const text = await aligned(answers.table(head));
      console.log(text);
      fillIn(page, name, text);
      await keep(page.replace(/md$/, 'json'), name, answers.all());
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
