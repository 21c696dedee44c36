import { binding } from './native/binding';
import { calling } from './native/jobs';
import { version } from './version';

/** What a report's numbers depend on besides input and options. */
export interface Environment {
  vertexq: string;
  node: string;
  blas: string;
  blasCore: string;
  /** Null where it had no part in them. */
  onnxruntime: string | null;
}

/** What the processor computes with: the core that OpenBLAS is for, and the instruction set. */
export interface Kernels {
  blas: string;
  simd: string;
}

/** The kernels that the numbers come from: others round otherwise. */
export function kernels(): Kernels {
  const { core, simd } = calling(() => binding().blasInfo());
  return { blas: core, simd };
}

/** What there is here. `onnxruntime`: its version, where it ran; whoever does not need it does not load it. */
export function environment(onnxruntime: string | null = null): Environment {
  const { config, core } = calling(() => binding().blasInfo());
  return { vertexq: version, node: process.version, blas: config, blasCore: core, onnxruntime };
}
