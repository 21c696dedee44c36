// tsx bench/checkpoint/golden.ts: has readers in Python read what we write, and keeps what they found as test/checkpoints/golden.json.
// PYTHON is one with numpy, torch and compressed-tensors.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { goldenCases, writeGolden } from '../../test/checkpoints/golden-cases';

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-golden-'));
  try {
    await writeGolden(folder);
    const folders = Object.keys(goldenCases).map((name) => join(folder, name));
    const python = process.env['PYTHON'] ?? 'python3';
    const { stdout, stderr, status } = spawnSync(python, [join(__dirname, 'read_packed.py'), ...folders], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    if (status !== 0) throw new Error(stderr);
    writeFileSync(join(__dirname, '..', '..', 'test', 'checkpoints', 'golden.json'), stdout);
    console.log(`${folders.length} checkpoints read`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

void main();
