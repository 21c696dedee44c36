import { stat } from 'node:fs/promises';
import { type Graph, tensorsOf } from './graph';
import { isExternal } from './tensor';
import type { Weights } from './weights';

/** The files beside a model that hold its external data, and their bytes together. Rejects as Weights.placeOf. */
export async function dataFilesOf(
  graph: Graph,
  weights: Weights,
): Promise<{ paths: string[]; bytes: number }> {
  const paths = new Set<string>();
  for (const tensor of tensorsOf(graph.proto))
    if (isExternal(tensor)) paths.add((await weights.placeOf(tensor))!.path);
  let bytes = 0;
  for (const path of paths) bytes += (await stat(path)).size;
  return { paths: [...paths], bytes };
}
