import { parentPort } from 'node:worker_threads';
import type { InferenceSession } from 'onnxruntime-node';
import { plainError } from '../workers/protocol';
import { loadSession, runSession } from './runtime';
import type { Asked, Told } from './threaded-session';
import type { Feeds } from './types';

// The thread of networks' sessions: the runtime holds the thread that calls it.

const sessions = new Map<number, InferenceSession>();
/** What each session's next run is given besides. */
const kept = new Map<number, Feeds>();
const sessionOf = (id: number) => sessions.get(id)!;

async function answerTo({ id, ...asked }: Asked): Promise<void> {
  try {
    const result = await resultOf(id, asked);
    const buffers = new Set(
      Object.values(result).flatMap(({ data }) =>
        ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer ? [data.buffer] : [],
      ),
    );
    tell({ id, result }, [...buffers]);
  } catch (error) {
    tell({ id, error: plainError(error) });
  }
}

/** `id`: of what was asked, which names a session that it loads. */
async function resultOf(id: number, asked: Omit<Asked, 'id'>): Promise<Feeds> {
  if (asked.load) sessions.set(id, await loadSession(asked.load, asked.what));
  if (asked.run) {
    const { session, feeds, outputs, carried } = asked.run;
    const all = [...outputs, ...Object.keys(carried)];
    const made = await runSession(sessionOf(session), { ...kept.get(session), ...feeds }, all, asked.what);
    kept.set(
      session,
      Object.fromEntries(Object.entries(carried).map(([output, input]) => [input, made[output]!])),
    );
    return Object.fromEntries(
      outputs.map((name) => {
        const { data, dims, type } = made[name]!;
        return [name, { data, dims, type }];
      }),
    );
  }
  if (asked.release !== undefined) {
    await sessionOf(asked.release).release();
    sessions.delete(asked.release);
    kept.delete(asked.release);
  }
  return {};
}

function tell(told: Told, buffers: ArrayBuffer[] = []): void {
  parentPort?.postMessage(told, buffers);
}

parentPort?.on('message', (asked: Asked) => void answerTo(asked));
