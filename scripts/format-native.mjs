// Formats the C++ sources with clang-format; with --check it only tells whether they are. Without clang-format: nothing.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const files = ['native', path.join('bench', 'native')].flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: true })
    .filter((name) => /\.(h|cpp)$/.test(name))
    .map((name) => path.join(root, folder, name)),
);

if (spawnSync('clang-format', ['--version']).error) {
  console.error('clang-format is not installed: the C++ sources are left alone.');
} else {
  const mode = process.argv.includes('--check') ? ['--dry-run', '-Werror'] : ['-i'];
  process.exitCode = spawnSync('clang-format', [...mode, ...files], { stdio: 'inherit' }).status ?? 1;
}
