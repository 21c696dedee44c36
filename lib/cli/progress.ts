import { SingleBar } from 'cli-progress';
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
  capture: 'running the network',
  quantize: 'fitting',
  write: 'writing',
  evaluate: 'running both networks',
  time: 'timing both networks',
  judge: 'running the networks',
  verify: 'reading back',
} as const;

/** A bar on a terminal; elsewhere a line for each layer, of bytes one now and then; nothing with `quiet`. */
export function progressDisplay(
  context: Pick<Context, 'stderr'>,
  look: Look,
  quiet: boolean,
): ProgressDisplay {
  if (quiet) return { show: () => {}, stop: () => {} };
  return look.terminal ? progressBar(context, look) : progressLines(context);
}

/** Milliseconds between two lines about bytes. */
const lineInterval = 30_000;

function progressLines({ stderr }: Pick<Context, 'stderr'>): ProgressDisplay {
  const bytes = new ByteCount();
  let told = performance.now();
  let last = -1;
  let lastRun = -1;
  return {
    show(progress) {
      const { stage, layer, layerIndex, layerCount, run, runIndex, runCount, unit, done, total } = progress;
      if (unit === 'bytes' || stage === 'judge') {
        const line =
          unit === 'bytes'
            ? bytes.describe(done, total)
            : `${stages.judge}: ${Math.floor((100 * done) / total)} %`;
        if (performance.now() - told < lineInterval && done < total) return;
        told = performance.now();
        stderr.write(`${line}\n`);
        return;
      }
      if (run !== undefined && runIndex !== undefined) {
        if (runIndex !== lastRun) stderr.write(`run ${runIndex + 1}/${runCount}: ${run}\n`);
        lastRun = runIndex;
        return;
      }
      if (layer === undefined || layerIndex === undefined || layerIndex === last) return;
      last = layerIndex;
      stderr.write(
        `layer ${layerIndex + 1}${layerCount === undefined ? '' : `/${layerCount}`}: ${visible(layer)}\n`,
      );
    },
    stop: () => {},
  };
}

const barSize = 20;
/** Steps of the bar per layer: the number of units differs from stage to stage. */
const layerSteps = 1000;
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
  const draw = (done: number, total: number, doing: string) => {
    if (!started) bar.start(total, Math.round(done), { doing });
    else bar.update(Math.round(done), { doing });
    started = true;
  };
  const bytes = new ByteCount();
  let layerCount = 1;
  return {
    show(progress) {
      const { layer, layerIndex = 0, run, runIndex = 0, runCount = 1 } = progress;
      if (progress.unit === 'bytes') {
        const counted = bytes.describe(progress.done, progress.total);
        const room = Math.max(8, width - barSize - otherWidth - counted.length - 2);
        const name = layer === undefined ? '' : `  ${shorten(visible(layer), room)}`;
        draw(progress.done, progress.total, `${counted}${name}`);
        return;
      }
      // What comes after all bytes is short.
      if (bytes.begun) return;
      // Writing is about no layer, and comes after all of them.
      layerCount = progress.layerCount ?? layerCount;
      const total = runCount * layerCount * layerSteps;
      const ofRun = progress.stage === 'write' ? layerCount : layerIndex + shareOfLayer(progress);
      const done = (runIndex * layerCount + ofRun) * layerSteps;
      const stage = stages[progress.stage];
      const where = [
        run === undefined ? '' : `${run} `,
        layer === undefined ? '' : `layer ${layerIndex + 1}/${layerCount} `,
      ].join('');
      const room = Math.max(8, width - barSize - otherWidth - where.length - stage.length - 2);
      const name = layer === undefined ? '' : `${shorten(visible(layer), room)}: `;
      draw(done, total, `${where}${name}${stage}`);
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

/** Says how many bytes are done, how fast, and how long the others will take. */
export class ByteCount {
  private first: { at: number; done: number } | undefined;

  get begun(): boolean {
    return this.first !== undefined;
  }

  /** `3.1 GB of 8.2 GB (38 %), 512 MB/s, 10.0 s left`, at `now` milliseconds. */
  describe(done: number, total: number, now = performance.now()): string {
    this.first ??= { at: now, done };
    const rate = (1000 * (done - this.first.done)) / (now - this.first.at);
    const share = total > 0 ? Math.floor((100 * done) / total) : 100;
    const speed = rate > 0 ? `, ${formatBytes(rate)}/s, ${formatSeconds((total - done) / rate)} left` : '';
    return `${formatBytes(done)} of ${formatBytes(total)} (${share} %)${speed}`;
  }
}
