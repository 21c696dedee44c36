// What the external data of a hostile model points at.
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const trapLocations = [
  ...['', '.', '..', 'folder', 'short.bin', 'weights.bin', 'missing.bin', 'case.onnx', './weights.bin'],
  ...['/etc/passwd', '/dev/zero', '../x', 'a/../../x', 'no\0where', 'pipe', 'zero', 'up/etc/passwd', 'self'],
  ...['C:\\x', '\\\\host\\x', 'folder/', 'weights.bin/', '𝕏'],
];

/** Puts them into a folder. Links and pipes only where the system has them. */
export function setTraps(folder: string): void {
  mkdirSync(join(folder, 'folder'), { recursive: true });
  writeFileSync(join(folder, 'short.bin'), new Uint8Array(10));
  writeFileSync(join(folder, 'weights.bin'), new Uint8Array(1 << 20).fill(60));
  if (process.platform === 'win32') return;
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  symlinkSync('/dev/zero', join(folder, 'zero'));
  symlinkSync('..', join(folder, 'up'));
  symlinkSync('self', join(folder, 'self'));
}
