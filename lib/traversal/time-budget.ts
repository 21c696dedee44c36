import type { LayerSettings } from '../fit/layer-settings';
import type { Forward } from './forward';
import type { FitLayer } from './layer';
import { type LayerWork, passesOf, secondsBefore, secondsOfFit, worksOf } from './work';

/** Of what is left, the part that is not given away: for writing, and for what takes longer than it looked. */
const reserve = 0.03;

/**
 * Has a run's fits end in time: what their layers take besides passes is known from those that were done, and what is left goes to the passes of each layer that is to come, equally much time to each. A pass more
 * lowers the error of any layer by about as much as another doubling of its passes would, so that seconds, not passes, are to be alike (docs/quality.md).
 */
export class TimeBudget {
  private readonly works: ReadonlyMap<FitLayer, LayerWork>;
  private readonly waiting: Set<FitLayer>;
  private readonly started: number;
  /** Milliseconds that passes were given. */
  private given = 0;

  /** `deadline`: as performance.now() tells it. */
  constructor(
    private readonly deadline: number,
    forward: Forward<FitLayer>,
    private readonly clock: () => number = () => performance.now(),
  ) {
    this.started = clock();
    this.works = new Map(worksOf(forward).map((work) => [work.layer, work]));
    this.waiting = new Set(this.works.keys());
  }

  /** Settings of a layer's fit, which is about to begin: how many seconds its passes may take. */
  settingsOf(layer: FitLayer, threads: number): Pick<LayerSettings, 'passSeconds'> {
    if (!isTimed(layer)) return {};
    const now = this.clock();
    const left = (this.deadline - now) * (1 - reserve) - this.restOf(now - this.started - this.given);
    const timed = [...this.waiting].filter(isTimed).length;
    const milliseconds = Math.max(0, left / Math.max(1, timed));
    this.given += milliseconds;
    // Of groups as many are fitted at once as there are threads.
    return { passSeconds: milliseconds / 1000 / Math.ceil(layer.groups / threads) };
  }

  /** A layer is fitted. */
  made(layer: FitLayer): void {
    this.waiting.delete(layer);
  }

  /** Milliseconds that all but passes will take, by what it took so far. The layer whose turn it is has been computed up to, and not fitted. */
  private restOf(spent: number): number {
    let [done, rest] = [0, 0];
    for (const [layer, work] of this.works) {
      const fit = secondsOfFit({ ...work, passes: 0 });
      if (this.waiting.has(layer)) rest += secondsBefore(work) + fit;
      else done += secondsBefore(work) + fit;
    }
    const [current] = this.waiting;
    const before = current ? secondsBefore(this.works.get(current)!) : 0;
    done += before;
    rest -= before;
    return done > 0 ? (spent * Math.max(0, rest)) / done : 0;
  }
}

/** Whether a layer's passes go by the time: where nobody has said how many. */
const isTimed = (layer: FitLayer): boolean => layer.settings.passes < 0 && passesOf(layer) > 0;
