import { setImmediate } from 'node:timers/promises';
import type { Evaluation, Latency } from './types';

export interface Timed {
  float: () => Promise<unknown>;
  quantized: () => Promise<unknown>;
}

/**
 * Times both networks `runs` times after a warm-up, in turns: whatever else the machine does, it does to both.
 */
export async function timeBoth(
  { float, quantized }: Timed,
  runs: number,
  onRun: (done: number) => void,
): Promise<Pick<NonNullable<Evaluation['latency']>, 'float' | 'quantized'>> {
  const times = { float: [] as number[], quantized: [] as number[] };
  await float();
  await quantized();
  for (let i = 0; i < runs; i++) {
    times.float.push(await secondsOf(float));
    times.quantized.push(await secondsOf(quantized));
    onRun(i + 1);
    // The runtime holds the thread while it runs: signals come in between.
    await setImmediate();
  }
  return { float: spreadOf(times.float), quantized: spreadOf(times.quantized) };
}

async function secondsOf(run: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** Median and quartiles; between two values in proportion. */
export function spreadOf(seconds: readonly number[]): Latency {
  const sorted = [...seconds].sort((a, b) => a - b);
  const quantile = (share: number) => {
    const place = share * (sorted.length - 1);
    const below = sorted[Math.floor(place)]!;
    return below + (sorted[Math.ceil(place)]! - below) * (place % 1);
  };
  return { median: quantile(0.5), lower: quantile(0.25), upper: quantile(0.75) };
}
