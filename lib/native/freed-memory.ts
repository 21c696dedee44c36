import { VertexqError } from '../errors';
import { binding } from './binding';
import { finish } from './jobs';

/** Gives the system what malloc keeps of freed memory. Where there is none even for that, nothing is lost: the run goes on. Rejects with the signal's reason. */
export async function giveBackMemory(signal?: AbortSignal): Promise<void> {
  try {
    await finish(() => binding().giveBackMemory(), signal);
  } catch (error) {
    if (!(error instanceof VertexqError && error.code === 'ERR_VERTEXQ_MEMORY')) throw error;
  }
}

let isKept = false;

/**
 * From now on malloc keeps freed memory for the next that asks, up to 256 MiB and until `giveBackMemory`: what a run of a network frees, the run
 * on the next batch takes.
 */
export function keepMemory(): void {
  if (!isKept) binding().keepMemory(2 ** 28);
  isKept = true;
}
