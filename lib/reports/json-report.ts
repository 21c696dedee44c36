import type { CheckpointReport } from '../checkpoints/types';
import type { Report } from '../models/types';

/** What `--json` has on stdout where a command failed. */
export interface Failure {
  /** What went wrong. */
  error: {
    /** One of docs/errors.md; null where the cause is none of these. */
    code: string | null;
    message: string;
    /** What to do, in a sentence. */
    remedy: string | null;
    exitCode: number;
  };
}

/** What `vertexq quantize --json` writes, and `--report` without failures: docs/report.schema.json is made of it. */
export type JsonReport = Report | CheckpointReport | Failure;
