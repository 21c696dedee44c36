import { createHash, type Hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { kernels } from '../environment';
import { timeOf } from '../files/output-file';
import type { Manifest } from '../runs/work-folder';
import { version } from '../version';
import type { CalibrationSet } from './calibration-set';
import type { OpenModel } from './open-model';
import { runtimeVersion } from './runtime';
import type { Feeds, ModelOptions } from './types';

/** These change how the work is done, not what comes of it; data is told by its numbers. */
const withoutEffect = [
  ...['calibration', 'holdout', 'tokenizer', 'memory', 'threads', 'signal', 'onProgress'],
  ...['onWarning', 'resume', 'otherKernels'],
];

/** What the bytes of the output depend on. */
export async function manifestOf(
  { file, dataFiles }: OpenModel,
  data: CalibrationSet | null,
  options: ModelOptions,
): Promise<Manifest> {
  const input: Record<string, unknown> = {};
  for (const path of [file, ...dataFiles]) {
    const { size, mtimeNs } = await stat(path, { bigint: true });
    input[path] = { bytes: Number(size), modified: timeOf(mtimeNs), nanoseconds: String(mtimeNs) };
  }
  return {
    vertexq: version,
    input,
    data: data && (await digestsOf(data)),
    options: Object.fromEntries(Object.entries(options).filter(([name]) => !withoutEffect.includes(name))),
    kernels: kernels(),
    onnxruntime: data && runtimeVersion(),
  };
}

/** What tells data from other data. */
export async function digestsOf({
  fit,
  holdout,
}: CalibrationSet): Promise<{ calibration: string; holdout: string }> {
  return { calibration: await digestOf(fit), holdout: await digestOf(holdout) };
}

/** Bytes that are digested before others get their turn. */
const atOnce = 2 ** 24;

/** Tells whether feeds are the same again: their names, dimensions, types and numbers. */
async function digestOf(feeds: readonly Feeds[]): Promise<string> {
  const hash = createHash('sha256');
  let pending = 0;
  for (const feed of feeds)
    for (const [name, { data, dims, type }] of Object.entries(feed)) {
      const kind = ArrayBuffer.isView(data) ? data.constructor.name : 'list';
      hash.update(JSON.stringify([name, dims, type ?? null, kind]));
      if (!ArrayBuffer.isView(data)) hash.update(JSON.stringify(data));
      else pending = await addBytes(hash, data, pending);
    }
  return hash.digest('hex');
}

async function addBytes(hash: Hash, data: ArrayBufferView, before: number): Promise<number> {
  let pending = before;
  for (let at = 0; at < data.byteLength; at += atOnce) {
    const length = Math.min(atOnce, data.byteLength - at);
    hash.update(new Uint8Array(data.buffer, data.byteOffset + at, length));
    pending += length;
    if (pending < atOnce) continue;
    pending = 0;
    await setImmediate();
  }
  return pending;
}
