import { writeLines } from '../plot';

/** How busy so many workers were, until no part was left to begin. */
export interface Busy {
  workers: number;
  parts: number;
  /** From 0 to 1. */
  busy: number;
  /** Of all workers' own code, and the queue's. */
  cpuSeconds: number;
}

export async function plotBusy(path: string, found: readonly Busy[]): Promise<void> {
  await writeLines(path, {
    title: 'How busy a queue keeps its workers',
    subtitle: 'Simulated workers, all on one machine of two cores; until no part is left. Higher is better.',
    points: found.map(({ workers, busy }) => ({ name: 'busy', x: workers, y: 100 * busy })),
    x: { title: 'workers', type: 'log', domain: [1, 256], ticks: found.map(({ workers }) => workers) },
    y: { title: '% of their time at work', domain: [80, 100] },
  });
}
