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
