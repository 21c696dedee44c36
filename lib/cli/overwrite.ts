import { stat } from 'node:fs/promises';
import { VertexqError } from '../errors';

/** What `--overwrite` says of itself. */
export const overwriteHelp = 'replace a file that is there already (default: it stops the run)';

export const isThereAlready = (path: string, others = ''): VertexqError =>
  new VertexqError('ERR_VERTEXQ_EXISTS', `${path} is there already: give --overwrite to replace it${others}`);

/** Throws ERR_VERTEXQ_EXISTS where a file would be replaced. `name`: as messages call it; `others`: what else could be done. */
export async function requireNoFile(path: string, name = path, others = ''): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) throw isThereAlready(name, others);
}
