import { realpathSync } from 'node:fs';
import { join, normalize, sep } from 'node:path';

const separators = sep === '/' ? /\/+/ : /[\\/]+/;

/**
 * A path that may be joined with others: behind a link the kernel takes `..` as the parent of where that leads, `join` and `resolve` as the
 * folder that the link is in. A path that leads nowhere stays as it is.
 */
export function plainPath(path: string): string {
  const steps = path.split(separators);
  const last = steps.lastIndexOf('..');
  // Those at the beginning mean the same to all.
  if (!steps.slice(0, Math.max(0, last)).some((step) => step !== '..' && step !== '.' && step !== ''))
    return path;
  const [up, rest] = [steps.slice(0, last + 1).join(sep), steps.slice(last + 1)];
  try {
    const real = realpathSync.native(up);
    return real === realpathSync.native(normalize(up)) ? normalize(path) : join(real, ...rest);
  } catch {
    return path;
  }
}
