import { hasPassword, passwordVariable, urlVariable } from '../fleet/address';
import { refuse } from '../options/messages';
import type { Given } from './flags';

/** Throws a RangeError at a password in --redis: whoever is on the machine can read the arguments of its programs. */
export function requireNoPassword({ redis }: Given): void {
  if (typeof redis === 'string' && hasPassword(redis))
    refuse(
      ['redis'],
      `--redis has a password in it, which others on this machine could read: give it as ${passwordVariable}, or the whole as ${urlVariable}, in the environment`,
    );
}
