/** One thing that vertexq needs, or can use. */
export interface Finding {
  /** Stable, for scripts. */
  id: 'node' | 'addon' | 'kernels' | 'onnxruntime' | 'sharp' | 'tokenizers' | 'cpus' | 'memory' | 'temporary';
  /** `ok`; `missing`, of what only some tasks need; `wrong`, of what all do. */
  state: 'ok' | 'missing' | 'wrong';
  /** What there is. */
  says: string;
  /** What to do; null where nothing is to be done. */
  remedy: string | null;
}

export interface Diagnosis {
  vertexq: string;
  platform: string;
  /** Whether nothing is wrong: what is missing may be so. */
  ok: boolean;
  findings: Finding[];
}
