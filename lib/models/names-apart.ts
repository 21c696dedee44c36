import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { WorkFolder } from '../runs/work-folder';
import { workFolderOf, workName } from '../runs/work-name';
import { dataName } from './run-files';

/**
 * Throws ERR_VERTEXQ_LOCKED where another run is making a network with the name of this one's data, or whose data would have this one's
 * name: each would write over the other. The run must have its own work folder by then, so that one of two sees the other.
 */
export async function requireNamesApart(output: string): Promise<void> {
  const [folder, name] = [dirname(output), basename(output)];
  const whole = /^(.+)_data(_\d+)?$/.exec(name)?.[1];
  const there = await readdir(folder).catch((): string[] => []);
  const others = there
    .filter((entry) => entry.endsWith(workName))
    .map((entry) => entry.slice(0, -workName.length))
    .filter((other) => dataName(output).test(other) || other === whole);
  for (const other of others) {
    const path = join(folder, other);
    if (await WorkFolder.isInUse(workFolderOf(path)))
      throw new VertexqError(
        'ERR_VERTEXQ_LOCKED',
        `Another run is writing ${path}: ${other === whole ? `${output} may be the name of its data` : `that may be the name of the data of ${output}`}. Wait for its end, or choose another output.`,
      );
  }
}
