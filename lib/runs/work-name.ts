import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { plainPath } from '../files/plain-path';

/** The work folder in a folder that is being made; for a single file what is added to its name. */
export const workName = '.vertexq';
/** Bytes that a name has at most on the usual file systems. */
const longestName = 255;

/** Where the run that makes a file keeps what it has done. */
export function workFolderOf(to: string): string {
  const output = plainPath(to);
  const name = `${basename(output)}${workName}`;
  if (Buffer.byteLength(name) <= longestName) return join(dirname(output), name);
  const digest = createHash('sha256').update(basename(output)).digest('hex').slice(0, 16);
  return join(dirname(output), `${digest}${workName}`);
}

/** What an output's folder says of the bytes of its files. */
export const manifestName = 'vertexq.manifest.json';
