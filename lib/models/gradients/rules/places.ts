import { TensorProto_DataType as DataType } from '../../../containers/onnx/onnx_pb';
import type { Builder } from '../builder';

/** Adds each number of `values` to where it came from, given by places in the list of all numbers of `like`. */
export function putBack(build: Builder, like: string, places: string, values: string): string {
  const zeros = build.flat(build.zerosLike(like));
  // Not ScatterND, whose threads add at equal places at once: sums differ between runs, and some are lost (onnxruntime 1.30).
  const sums = build.op('ScatterElements', [zeros, build.flat(places), build.flat(values)], {
    axis: 0n,
    reduction: 'add',
  });
  return build.reshapeLike(sums, like);
}

/** Where each number of a value stands in the list of them all. */
export function placesOf(build: Builder, value: string): string {
  const size = build.op('Size', [value], {}, DataType.INT64);
  const all = build.op('Range', [build.integer(0), size, build.integer(1)]);
  return build.reshapeLike(all, value);
}
