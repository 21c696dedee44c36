import type { Progress } from '../types';
import { shorten, visible } from '../reports/text';
import { formatBytes, formatSeconds } from '../reports/units';
import type { Context, Look } from './context';
import type { ProgressDisplay } from './progress';

/** Seconds between two lines, where lines cannot be written over. */
const lineInterval = 30;
const lookInterval = 0.1;
/** Seconds over which the rate is measured. */
const window = 20;

/** How far a checkpoint has come, in bytes of its input, with the rate and the time left; nothing with `quiet`. */
export function byteProgress(
  { stderr }: Pick<Context, 'stderr'>,
  look: Look,
  quiet: boolean,
): ProgressDisplay {
  if (quiet) return { show: () => {}, stop: () => {} };
  const rate = new Rate();
  let last = 0;
  let onLine = false;
  return {
    show({ stage, done, total, layer }: Progress) {
      if (stage !== 'quantize' && stage !== 'verify') return;
      const now = performance.now() / 1000;
      rate.add(now, done);
      if (now - last < (look.terminal ? lookInterval : lineInterval) && done < total) return;
      last = now;
      const line = describeBytes(done, total, rate.perSecond);
      if (!look.terminal) {
        stderr.write(`${line}\n`);
        return;
      }
      const room = (look.width ?? 80) - line.length - 3;
      const name = layer !== undefined && room > 8 ? `  ${shorten(visible(layer), room)}` : '';
      stderr.write(`\r\x1b[K${line}${name}`);
      onLine = true;
    },
    stop() {
      if (onLine) stderr.write('\r\x1b[K');
      onLine = false;
    },
  };
}

/** `3.1 of 8.2 GB (38 %), 512 MB/s, 10.0 s left`. */
export function describeBytes(done: number, total: number, rate: number | undefined): string {
  const share = total > 0 ? Math.floor((100 * done) / total) : 100;
  const speed =
    rate === undefined ? '' : `, ${formatBytes(rate)}/s, ${formatSeconds((total - done) / rate)} left`;
  return `${formatBytes(done)} of ${formatBytes(total)} (${share} %)${speed}`;
}

/** Bytes a second over the last while. */
class Rate {
  private readonly points: [seconds: number, done: number][] = [];

  add(seconds: number, done: number): void {
    this.points.push([seconds, done]);
    while (this.points.length > 2 && seconds - this.points[0]![0] > window) this.points.shift();
  }

  get perSecond(): number | undefined {
    const [first, last] = [this.points[0], this.points.at(-1)];
    if (!first || !last || last[0] - first[0] < lookInterval || last[1] === first[1]) return undefined;
    return (last[1] - first[1]) / (last[0] - first[0]);
  }
}
