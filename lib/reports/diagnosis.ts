import type { Diagnosis, Finding } from '../doctor/types';
import { painter, visible } from './text';

const titles: Record<Finding['id'], string> = {
  node: 'Node',
  addon: 'native addon',
  kernels: 'kernels',
  onnxruntime: 'onnxruntime',
  sharp: 'sharp',
  tokenizers: 'tokenizers',
  cpus: 'threads',
  memory: 'memory',
  temporary: 'temporary files',
};
const colors = { ok: 'green', missing: 'yellow', wrong: 'red' } as const;

/** What `vertexq doctor` shows: a thing a line, and below it what to do. */
export function diagnosisTable({ vertexq, platform, findings }: Diagnosis, { color = false } = {}): string {
  const paint = painter(color);
  const width = Math.max(...findings.map(({ id }) => titles[id].length));
  const lines = findings.flatMap(({ id, state, says, remedy }) => [
    `${paint(colors[state], state.padEnd(7))}  ${titles[id].padEnd(width)}  ${visible(says)}`,
    ...(remedy === null ? [] : [`${' '.repeat(width + 11)}→ ${visible(remedy)}`]),
  ]);
  return [paint('bold', `vertexq ${vertexq} on ${platform}`), '', ...lines].join('\n');
}
