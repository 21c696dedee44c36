import { hostname } from 'node:os';
import type { FleetEvent, WorkerReport } from './types';

/** Milliseconds for which the same trouble is not told again. */
const troubleInterval = 10_000;

/** Tells what a worker does, and counts it. */
export class Teller {
  readonly worker = `${hostname()}-${process.pid}`;
  readonly jobs: WorkerReport['jobs'] = { done: 0, failed: 0, refused: 0, returned: 0 };
  private readonly troubles = new Map<string, number>();
  private failure: { reason: unknown } | undefined;

  /** `onThrow`: where `onEvent` has thrown. */
  constructor(
    private readonly onEvent: ((event: FleetEvent) => void) | undefined,
    private readonly onThrow: () => void,
  ) {}

  tell(event: Omit<FleetEvent, 'time' | 'worker'>): void {
    const counted = { 'job-done': 'done', 'job-failed': 'failed', 'job-refused': 'refused', 'job-returned': 'returned' } as const; // prettier-ignore
    const own = counted[event.event as keyof typeof counted];
    if (own) this.jobs[own]++;
    if (this.failure) return;
    try {
      this.onEvent?.({ time: new Date().toISOString(), worker: this.worker, ...event });
    } catch (reason) {
      this.failure = { reason };
      this.onThrow();
    }
  }

  /** What Redis says again and again is told once in a while. */
  trouble(queue: string, message: string): void {
    const now = performance.now();
    for (const [known, at] of this.troubles) if (now - at > troubleInterval) this.troubles.delete(known);
    if (this.troubles.has(message)) return;
    this.troubles.set(message, now);
    this.tell({ event: 'queue-error', queue, message });
  }

  /** Throws what a callback has thrown. */
  requireWell(): void {
    if (this.failure) throw this.failure.reason;
  }
}
