import { visible } from '../reports/text';
import type { WarningOptions } from '../types';
import { codeOf } from '../warning-codes';
import type { Context, Look } from './context';
import { now, type ProgressDisplay, type ProgressStyle } from './progress';

/** Milliseconds of a run after which warnings do not wait for its end: of a shorter one they come with its table. */
const soon = 10_000;

/**
 * A display that shows the warnings of a long run when they are known, each kind once: all are told at its end. As objects they come at
 * once: `{"time": …, "event": "warning", "code": …}`.
 */
export function withWarnings(
  display: ProgressDisplay,
  { stderr }: Pick<Context, 'stderr'>,
  { paint }: Pick<Look, 'paint'>,
  { quiet = false, progress: style = 'auto' }: { quiet?: boolean; progress?: ProgressStyle },
  wait = soon,
): ProgressDisplay & Required<WarningOptions> {
  const began = performance.now();
  const told = new Set<string>();
  let waiting: string[] = [];
  const flush = () => {
    if (waiting.length === 0 || performance.now() - began < wait) return;
    // A bar is drawn again, below, by what is shown next.
    display.stop();
    stderr.write(`${waiting.join('\n')}\n`);
    waiting = [];
  };
  return {
    show(progress) {
      flush();
      display.show(progress);
    },
    stop: () => display.stop(),
    onWarning(warning, layer) {
      if (quiet || style === 'none') return;
      const code = codeOf(warning);
      if (style === 'json') {
        const event = { time: now(), event: 'warning', code, warning, ...(layer !== undefined && { layer }) };
        stderr.write(`${JSON.stringify(event)}\n`);
        return;
      }
      const kind = code ?? warning;
      if (told.has(kind)) return;
      told.add(kind);
      waiting.push(
        `${paint('yellow', 'warning:')} ${layer === undefined ? '' : `${visible(layer)}: `}${visible(warning)}`,
      );
      flush();
    },
  };
}
