import { stat } from 'node:fs/promises';
import { type Graph, tensorsOf } from './graph';
import { isExternal } from './tensor';
import type { Weights } from './weights';

/** The files beside a model that hold its external data, their bytes together, and those that tensors refer to, each tensor's by itself. Rejects as Weights.placeOf. */
export async function dataFilesOf(
  graph: Graph,
  weights: Weights,
): Promise<{ paths: string[]; bytes: number; used: number }> {
  const paths = new Set<string>();
  let used = 0;
  for (const tensor of tensorsOf(graph.proto)) {
    if (!isExternal(tensor)) continue;
    const { path, length } = (await weights.placeOf(tensor))!;
    paths.add(path);
    used += length;
  }
  let bytes = 0;
  for (const path of paths) bytes += (await stat(path)).size;
  return { paths: [...paths], bytes, used };
}
