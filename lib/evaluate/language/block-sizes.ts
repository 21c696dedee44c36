import type { OpenDecoder } from '../../decoders/open';

/** How many numbers the weights of each block have. */
export function blockSizes({ graph, shape }: OpenDecoder): number[] {
  const { blocks } = shape.architecture.modules;
  const sizes = shape.blocks.map(() => 0);
  for (const { name, dims } of graph.proto.initializer)
    if (name.startsWith(`${blocks}.`))
      sizes[Number(name.slice(blocks.length + 1).split('.')[0])]! += dims.reduce(
        (product, dim) => product * Number(dim),
        1,
      );
  return sizes;
}
