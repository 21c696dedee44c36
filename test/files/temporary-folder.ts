import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A folder that the end of the test removes. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The path of a new file with these contents. */
export function temporaryFile(t: ExecutionContext, name: string, contents: Uint8Array | string): string {
  const path = join(temporaryFolder(t), name);
  writeFileSync(path, contents);
  return path;
}
