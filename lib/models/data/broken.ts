import { VertexqError } from '../../errors';
import { fewOf } from '../../reports/text';
import { warn, type Warning } from '../../warning-codes';

/** Samples that cannot be read: the first ends the run, unless it was asked to leave them out. */
export class Broken {
  private readonly told: string[] = [];
  private count = 0;
  private first: unknown;

  constructor(private readonly areSkipped: boolean) {}

  /** Notes one; throws what is wrong with it where none may be left out, and what is no fault of a sample. */
  note(error: unknown): void {
    const code = error instanceof VertexqError ? error.code : undefined;
    if (!this.areSkipped || (code !== 'ERR_VERTEXQ_IMAGE' && code !== 'ERR_VERTEXQ_CALIBRATION')) throw error;
    this.first ??= error;
    if (++this.count <= mostTold) this.told.push((error as VertexqError).message);
  }

  /** What was left out, as `skippedWarnings` takes it. Throws what is wrong with the first where `left` of all are none. */
  found(left: number): Skipped {
    if (left === 0 && this.count > 0) throw this.first;
    return { count: this.count, told: this.told };
  }
}

const mostTold = 20;

/** How many samples were left out, and why the first of them. */
export interface Skipped {
  count: number;
  told: readonly string[];
}

/** What is said of them; `what`: as what they are counted, `left`: how many others there are. */
export function skippedWarnings({ count, told }: Skipped, left: number, what: string): Warning[] {
  if (count === 0) return [];
  const more = count > told.length ? `; and ${count - told.length} more` : '';
  return [
    warn(
      'WARN_VERTEXQ_SKIPPED_DATA',
      `${count} of ${count + left} ${what} cannot be read, and ${count === 1 ? 'is' : 'are'} left out: ${fewOf(told, mostTold)}${more}`,
    ),
  ];
}
