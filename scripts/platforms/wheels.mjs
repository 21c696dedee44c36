// Wheels, fetched by pip with their hashes checked, and unpacked: they are archives of files.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

/** Runs a command; throws with all that it said where it fails. */
export function run(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status === 0) return done.stdout;
  const said = `${done.stdout ?? ''}${done.stderr ?? ''}${done.error ? `${done.error}\n` : ''}`;
  throw new Error(`${[command, ...args].join(' ')} failed\n${said}`);
}

/** No wheel came: pip is missing, or reaches no index. */
export class NoWheel extends Error {}

/**
 * The folder with what the wheel of a requirements file holds for a platform, fetched if it is not there yet.
 * `tags`: of the platform, e.g. manylinux_2_28_x86_64; the first of which there is a wheel counts.
 */
export function unpackedWheel(requirements, tag, folder) {
  if (existsSync(folder)) return folder;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  const contents = path.join(part, 'contents');
  mkdirSync(contents, { recursive: true });
  const only = ['--no-deps', '--only-binary=:all:', `--platform=${tag}`, '--python-version=312'];
  const kind = ['--implementation=py', '--abi=none', '--require-hashes'];
  try {
    run('python3', [
      '-m',
      'pip',
      'download',
      '--quiet',
      ...only,
      ...kind,
      '--dest',
      part,
      '-r',
      requirements,
    ]);
  } catch (error) {
    throw new NoWheel(error.message);
  }
  const wheel = readdirSync(part).find((name) => name.endsWith('.whl'));
  run('python3', ['-m', 'zipfile', '-e', path.join(part, wheel), contents]);
  renameSync(contents, folder);
  rmSync(part, { recursive: true, force: true });
  return folder;
}
