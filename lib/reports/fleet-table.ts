import { pieceName } from '../fleet/job-data';
import type { FleetEvent, FleetStatus, LayerStatus, QueueStatus, RunStatus } from '../fleet/types';
import { type Column, formatTable } from './columns';
import type { TableOptions } from './table';
import { type Paint, painter, visible } from './text';
import { formatBytes, formatPercent, formatSeconds, percentCell, plural } from './units';

const runColumns: Column<RunStatus>[] = [
  { title: 'output', cell: ({ output }) => output },
  { title: 'run', cell: ({ run }) => run, dispensable: 1 },
  { title: 'state', cell: ({ state }) => state },
  { title: 'parts', cell: ({ parts }) => `${parts.done}/${parts.count}`, align: 'right' },
  { title: 'at work', cell: ({ active }) => String(active.length), align: 'right', dispensable: 2 },
  { title: 'done', cell: ({ progress }) => formatPercent(progress), align: 'right' },
  { title: 'priority', cell: ({ priority }) => String(priority), align: 'right', dispensable: 3 },
  { title: 'submitted', cell: ({ submitted }) => submitted.replace(/\.\d+Z$/, 'Z'), dispensable: 4 },
];

/** Layers of a run that are shown. */
const mostLayers = 12;
const layerColumns: Column<LayerStatus>[] = [
  { title: 'layer', cell: ({ name }) => name },
  { title: 'error', cell: ({ error }) => percentCell(error), align: 'right' },
  { title: 'of its', cell: ({ isFitted }) => (isFitted ? 'outputs' : 'weights') },
];

/** Queues, a run a line, and why runs are where they are. What Redis says is anyone's: nothing of it reaches the terminal as more than text. */
export function fleetTable({ redis, queues }: FleetStatus, { color, width }: TableOptions): string {
  const paint = painter(color);
  return [
    paint('bold', `Redis at ${visible(redis)}`),
    ...queues.map((queue) => queueTable(queue, paint, width)),
  ].join('\n\n');
}

function queueTable(
  { queue, workers, jobs, runs }: QueueStatus,
  paint: Paint,
  width: number | undefined,
): string {
  const { waiting, delayed, active } = jobs;
  return [
    `queue ${paint('bold', queue)}: ${plural(workers, 'worker')}; ${plural(active, 'piece')} of work being done, ${waiting} waiting, ${delayed} put off`,
    ...(runs.length > 0 ? ['', formatTable(runs, runColumns, { paint, width })] : ['no runs']),
    ...runs.flatMap(({ output, error, refused }) => [
      ...(error === null ? [] : [`${paint('red', 'failed:')} ${visible(`${output}: ${error}`)}`]),
      ...(refused === null
        ? []
        : [`${paint('yellow', 'left to others:')} ${visible(`${output}: ${refused}`)}`]),
    ]),
    ...runs.flatMap(({ layers = [] }) => layersTable(layers, paint, width)),
  ].join('\n');
}

/** The layers with the largest errors. */
function layersTable(layers: readonly LayerStatus[], paint: Paint, width: number | undefined): string[] {
  if (layers.length === 0) return [];
  const told = layers.length > mostLayers ? `, the ${mostLayers} with the largest errors` : '';
  return [
    '',
    `${plural(layers.length, 'layer')} done${told}:`,
    formatTable(layers.slice(0, mostLayers), layerColumns, { paint, width }),
  ];
}

/** What a worker tells, in a line. */
export function eventLine(event: FleetEvent): string {
  const { time, queue, run, job, piece, message, code } = event;
  const what = piece === undefined ? job : `${run?.slice(0, 8)} ${pieceName(piece)}`;
  const where = [queue, what].filter((text) => text !== undefined).join(' ');
  const more = [message, code && `[${code}]`].filter(Boolean).join(' ');
  return visible([time.slice(11, 19), where, told(event), more].filter(Boolean).join(' '));
}

function told({ event, seconds = 0, bytes = 0, units, final }: FleetEvent): string {
  if (event === 'job-done')
    return units && units.done + units.found > 0
      ? `done: ${plural(units.done, 'unit')} of ${formatBytes(bytes)} in ${formatSeconds(seconds)}, ${units.found} done before`
      : `done in ${formatSeconds(seconds)}`;
  const words: Partial<Record<FleetEvent['event'], string>> = {
    'worker-started': 'worker started:',
    'worker-draining': 'worker ending:',
    'worker-ended': 'worker ended',
    'job-started': 'begun',
    'job-failed': final ? 'failed:' : 'failed, to be tried again:',
    'job-refused': 'left to others:',
    'job-returned': 'given back:',
    'job-stalled': 'taken over from a worker that was not heard of',
    'queue-error': 'trouble with the queue:',
  };
  return words[event] ?? event;
}
