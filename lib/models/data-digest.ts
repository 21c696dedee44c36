import { createHash } from 'node:crypto';
import type { Turns } from '../yielding';
import type { CalibrationSet } from './calibration-set';
import type { TensorLike } from '../types';
import type { Feeds } from './types';

/**
 * SHA-256 of samples, however they are put into runs of the network: of the set of their numbers by input, with type and dimensions. Samples are taken to lie
 * along first axes; those without numbers do not count.
 */
export async function samplesDigest(feeds: readonly Feeds[], turns: Turns): Promise<string> {
  const known = new Set<string>();
  for (const feed of feeds)
    for (const [name, tensor] of Object.entries(feed))
      for (const sample of samplesOf(name, tensor)) {
        if (turns.due) await turns.next();
        known.add(sample);
      }
  const hash = createHash('sha256');
  for (const sample of [...known].sort()) hash.update(sample);
  return hash.digest('hex');
}

function* samplesOf(name: string, { data, dims, type }: TensorLike): Generator<string> {
  const isBytes = ArrayBuffer.isView(data);
  // Samples without numbers add nothing to what is fitted to.
  if ((isBytes ? data.byteLength : data.length) === 0) return;
  const [count = 1, ...rest] = dims;
  const kind = isBytes ? data.constructor.name : 'list';
  const head = JSON.stringify([name, rest, type ?? null, kind]);
  for (let i = 0; i < count; i++) {
    const hash = createHash('sha256').update(head);
    if (isBytes) {
      const length = data.byteLength / count;
      hash.update(new Uint8Array(data.buffer, data.byteOffset + i * length, length));
    } else {
      const length = data.length / count;
      hash.update(JSON.stringify(data.slice(i * length, (i + 1) * length)));
    }
    yield hash.digest('hex');
  }
}

/** Of calibration data, what is fitted to and what is held out. */
export async function dataDigests(
  { fit, holdout }: Pick<CalibrationSet, 'fit' | 'holdout'>,
  turns: Turns,
): Promise<{ calibration: string; holdout: string | null }> {
  return {
    calibration: await samplesDigest(fit, turns),
    holdout: holdout.length === 0 ? null : await samplesDigest(holdout, turns),
  };
}
