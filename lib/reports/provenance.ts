import type { Provenance } from '../runs/provenance';
import { visible } from './text';

/** Where an output comes from: a name and a text each. */
export function provenanceRows({
  vertexq,
  options,
  input,
  data,
  kernels,
  onnxruntime,
}: Provenance): [string, string][] {
  return [
    ['made by', `vertexq ${vertexq}`],
    ['options', JSON.stringify(options)],
    ['input', `sha256 ${input} (of sizes and samples)`],
    ...Object.entries((data ?? {}) as Record<string, unknown>).flatMap(([name, hash]): [string, string][] =>
      typeof hash === 'string' ? [[name, `sha256 ${hash}`]] : [],
    ),
    ...(kernels ? [['kernels', `${kernels.blas}, ${kernels.simd}`] as [string, string]] : []),
    ...(onnxruntime === null ? [] : [['onnxruntime', onnxruntime] as [string, string]]),
  ];
}

/** A line each, as `inspect` shows them; none where a file says nothing of itself. */
export function provenanceLines(provenance: Provenance | null): string[] {
  const rows = provenance ? provenanceRows(provenance) : [];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => visible(`${name.padEnd(width)}  ${text}`));
}
