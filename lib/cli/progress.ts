import { SingleBar } from 'cli-progress';
import { Option as Flag } from 'commander';
import type { Progress } from '../types';
import { shorten, visible } from '../reports/text';
import { formatBytes, formatSeconds } from '../reports/units';
import type { Context, Look } from './context';

/** Shows how far a command has come. */
export interface ProgressDisplay {
  show(progress: Progress): void;
  /** Takes the display away, before anything else is written. */
  stop(): void;
}

const stages = {
  draw: 'drawing texts',
  weigh: 'running the network forward and back',
  capture: 'running the network',
  quantize: 'fitting',
  tune: 'tuning the block',
  write: 'writing',
  evaluate: 'running both networks',
  time: 'timing both networks',
  judge: 'running the networks',
  verify: 'reading back',
} as const;

const styles = ['auto', 'lines', 'json', 'none'] as const;
/** How progress is shown; `auto`: as a bar on a terminal, and in lines elsewhere. */
export type ProgressStyle = (typeof styles)[number];

/** The flag of all commands that have progress. */
export const progressFlag = (): Flag =>
  new Flag(
    '--progress <how>',
    'a bar on a terminal and lines elsewhere (auto), lines, or an object a line (json)',
  )
    .choices(styles)
    .default('auto');

/** A bar on a terminal; elsewhere a line for each layer, of long ones and of bytes one now and then; nothing with `quiet`. */
export function progressDisplay(
  context: Pick<Context, 'stderr'>,
  look: Look,
  { quiet = false, progress = 'auto' }: { quiet?: boolean; progress?: ProgressStyle },
): ProgressDisplay {
  if (quiet || progress === 'none') return { show: () => {}, stop: () => {} };
  if (progress === 'json') return jsonLines(context);
  return progress === 'auto' && look.terminal ? progressBar(context, look) : progressLines(context);
}

export const now = (): string => new Date().toISOString();

/** Milliseconds between two objects about the same layer in the same stage. */
const objectInterval = 1000;

/** An object a line, `{"time": …, "event": "progress", "stage": …}` with what the library tells besides. */
function jsonLines({ stderr }: Pick<Context, 'stderr'>): ProgressDisplay {
  let last = '';
  let told = 0;
  return {
    show(progress) {
      const { stage, layer, run } = progress;
      const what = JSON.stringify([stage, layer, run]);
      if (what === last && performance.now() - told < objectInterval) return;
      last = what;
      told = performance.now();
      stderr.write(`${JSON.stringify({ time: now(), event: 'progress', ...progress })}\n`);
    },
    stop: () => {},
  };
}

/** Milliseconds between two lines about bytes. */
const lineInterval = 30_000;

function progressLines({ stderr }: Pick<Context, 'stderr'>): ProgressDisplay {
  const say = (line: string) => {
    told = performance.now();
    stderr.write(`${now().replace(/\.\d+/, '')} ${line}\n`);
  };
  const bytes = new ByteCount();
  const pace = new Pace();
  let told = performance.now();
  let last = -1;
  let lastRun = -1;
  return {
    show(progress) {
      const { stage, layer, layerIndex, layerCount, run, runIndex, runCount, unit, done, total, share } =
        progress;
      if (unit === 'bytes' || stage === 'judge' || stage === 'draw') {
        const line =
          unit === 'bytes'
            ? bytes.describe(done, total)
            : `${stages[stage]}: ${Math.floor((100 * done) / total)} %`;
        if (performance.now() - told < lineInterval && done < total) return;
        say(line);
        return;
      }
      if (run !== undefined && runIndex !== undefined) {
        if (runIndex !== lastRun) say(`run ${runIndex + 1}/${runCount}: ${run}`);
        lastRun = runIndex;
        return;
      }
      const left = share === undefined ? '' : pace.left(share);
      if (layer === undefined || layerIndex === undefined) return;
      const isLong = layerIndex === last;
      if (isLong && performance.now() - told < lineInterval) return;
      last = layerIndex;
      const doing = isLong ? `, ${stages[stage]}, ${total > 0 ? Math.floor((100 * done) / total) : 0} %` : '';
      say(
        `layer ${layerIndex + 1}${layerCount === undefined ? '' : `/${layerCount}`}: ${visible(layer)}${doing}${left && ` (${left})`}`,
      );
    },
    stop: () => {},
  };
}

const barSize = 20;
const barSteps = 10_000;
/** Characters of the line besides the bar and what is being done. */
const otherWidth = 20;

function progressBar({ stderr }: Pick<Context, 'stderr'>, { width = 80 }: Look): ProgressDisplay {
  const bar = new SingleBar({
    stream: stderr as NodeJS.WritableStream,
    format: '{bar} {percentage} %  {duration_formatted}  {doing}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: barSize,
    fps: 10,
    clearOnComplete: true,
    // A killed process could not undo either: the cursor stays, and so does the wrapping of lines.
    hideCursor: false,
    linewrap: true,
    gracefulExit: false,
  });
  let started = false;
  const draw = (share: number, doing: string) => {
    const done = Math.round(barSteps * share);
    if (!started) bar.start(barSteps, done, { doing });
    else bar.update(done, { doing });
    started = true;
  };
  const bytes = new ByteCount();
  const pace = new Pace();
  let layerCount = 1;
  return {
    show(progress) {
      const { layer, layerIndex = 0, run, runIndex = 0, runCount = 1, done, total } = progress;
      const room = (others: number) => Math.max(8, width - barSize - otherWidth - others - 2);
      if (progress.unit === 'bytes') {
        const counted = bytes.describe(done, total);
        const name = layer === undefined ? '' : `  ${shorten(visible(layer), room(counted.length))}`;
        draw(total > 0 ? done / total : 1, `${counted}${name}`);
        return;
      }
      // What comes after all bytes is short, but for layers that are fitted.
      if (bytes.begun && layer === undefined) return;
      // Writing is about no layer, and comes after all of them.
      layerCount = progress.layerCount ?? layerCount;
      const ofRun =
        progress.stage === 'weigh' || progress.stage === 'draw'
          ? 0
          : progress.stage === 'write'
            ? 1
            : (progress.share ?? (layerIndex + shareOfLayer(progress)) / layerCount);
      const percent = progress.stage === 'draw' ? `, ${Math.floor((100 * done) / total)} %` : '';
      const stage = stages[progress.stage] + percent;
      const where = [
        run === undefined ? '' : `${run} `,
        layer === undefined ? '' : `layer ${layerIndex + 1}/${layerCount} `,
      ].join('');
      const left = progress.share === undefined || run !== undefined ? '' : pace.left(progress.share);
      const after = `${stage}${left && `, ${left}`}`;
      const name =
        layer === undefined ? '' : `${shorten(visible(layer), room(where.length + after.length))}: `;
      draw((runIndex + ofRun) / runCount, `${where}${name}${after}`);
    },
    stop() {
      if (started) bar.stop();
      started = false;
    },
  };
}

/** Running the network, or two of them, counts as one half of a layer's work, judging language models as all of it. */
function shareOfLayer({ stage, done, total }: Progress): number {
  const share = total > 0 ? Math.min(1, done / total) : 0;
  if (stage === 'judge') return share;
  return stage === 'capture' || stage === 'evaluate' ? share / 2 : 0.5 + share / 2;
}

/** How fast work goes, from its beginning on: parts of it may have been done before. */
class Pace {
  private first: { at: number; done: number } | undefined;

  get begun(): boolean {
    return this.first !== undefined;
  }

  /** Per second; 0 where that is not known yet. */
  of(done: number, now = performance.now()): number {
    this.first ??= { at: now, done };
    return now > this.first.at ? (1000 * (done - this.first.done)) / (now - this.first.at) : 0;
  }

  /** What is left of 1: `3 min 20 s left`. */
  left(done: number): string {
    const rate = this.of(done);
    const seconds = rate > 0 ? (1 - done) / rate : 0;
    // Less is "0 ms".
    return seconds >= 0.0005 ? `${formatSeconds(seconds)} left` : '';
  }
}

/** Says how many bytes are done, how fast, and how long the others will take. */
export class ByteCount {
  private readonly pace = new Pace();

  get begun(): boolean {
    return this.pace.begun;
  }

  /** `3.1 GB of 8.2 GB (38 %), 512 MB/s, 10.0 s left`, at `now` milliseconds. */
  describe(done: number, total: number, now = performance.now()): string {
    const rate = this.pace.of(done, now);
    const share = total > 0 ? Math.floor((100 * done) / total) : 100;
    const left = done < total ? `, ${formatSeconds((total - done) / rate)} left` : '';
    const speed = rate > 0 ? `, ${formatBytes(rate)}/s${left}` : '';
    return `${formatBytes(done)} of ${formatBytes(total)} (${share} %)${speed}`;
  }
}
