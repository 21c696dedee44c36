import type { NodeProto } from '../containers/onnx/onnx_pb';
import type { Latency } from './types';

/** Products of weights behind DequantizeLinear have kernels of their own in the runtime. */
const fused: ReadonlySet<string> = new Set(['MatMul', 'Gemm']);
/** Slower by this much is no accident of timing. */
const slower = 1.1;

/** The operators whose weights the runtime makes floats of each time the network is run, in alphabetical order. */
export function unpackedEachRun(nodes: readonly Pick<NodeProto, 'opType' | 'input' | 'output'>[]): string[] {
  const unpacked = new Set(
    nodes.filter(({ opType }) => opType === 'DequantizeLinear').flatMap(({ output }) => output),
  );
  const takers = nodes.filter(
    ({ opType, input }) => !fused.has(opType) && input.some((name) => unpacked.has(name)),
  );
  return [...new Set(takers.map(({ opType }) => opType))].sort();
}

/** Why a quantized network is slower than the float one, and what to do; none where it is not, or nothing is known. */
export function latencyHints(
  operators: readonly string[],
  latency: { float: Latency; quantized: Latency } | null,
): string[] {
  if (latency === null || operators.length === 0) return [];
  if (latency.quantized.median < slower * latency.float.median) return [];
  return [
    `The quantized network is slower because the weights of ${operators.join(', ')} become floats again at each run. With the session option ` +
      `{ extra: { session: { disable_quant_qdq: '1' } } } they do once, when it is loaded, at the float network's speed and memory`,
  ];
}
