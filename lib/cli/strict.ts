import { VertexqError } from '../errors';
import { plural } from '../reports/units';
import type { Warning } from '../warning-codes';

/** What `--strict` says of itself. */
export const strictHelp = 'warnings make the run fail (exit code 1), after all is written';

interface WarnedLayer {
  name: string;
  warnings?: readonly Warning[];
}

/** Whatever may have warnings: of its own, of its layers, of the layers of its runs. */
export interface Warned {
  warnings: Warning[];
  layers?: readonly WarnedLayer[];
  runs?: readonly { layers: readonly WarnedLayer[] }[];
}

/** Throws ERR_VERTEXQ_STRICT where a result has warnings. */
export function requireNoWarnings({ warnings = [], layers = [], runs = [] }: Partial<Warned>): void {
  const all: string[] = [...warnings];
  for (const list of [layers, ...runs.map((run) => run.layers)])
    for (const { name, warnings: own = [] } of list) all.push(...own.map((text) => `${name}: ${text}`));
  if (all.length > 0)
    throw new VertexqError(
      'ERR_VERTEXQ_STRICT',
      `--strict: ${plural(all.length, 'warning')}, the first: ${all[0]}`,
    );
}
