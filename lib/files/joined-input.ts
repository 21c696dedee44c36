import type { InputBytes } from './input-file';

/** Files as one, whose bytes follow each other. */
export class JoinedInput implements InputBytes {
  private readonly begins: number[] = [];
  readonly size: number = 0;

  /** They are closed with it. */
  constructor(
    readonly path: string,
    private readonly files: readonly InputBytes[],
  ) {
    for (const file of files) {
      this.begins.push(this.size);
      this.size += file.size;
    }
  }

  get modified(): bigint {
    return this.files.reduce((last, { modified }) => (modified > last ? modified : last), 0n);
  }

  get identity(): string {
    return this.files.map(({ identity }) => identity).join(' ');
  }

  /** Where the bytes of file `index` begin. */
  beginOf(index: number): number {
    return this.begins[index]!;
  }

  /** Fills `target` from the bytes at `position`. Rejects with ERR_VERTEXQ_FILE if the last file ends before. */
  async fill(target: Uint8Array, position: number): Promise<void> {
    let done = 0;
    for (const [i, file] of this.files.entries()) {
      const from = position + done - this.begins[i]!;
      if (done === target.length || from >= file.size) continue;
      const isLast = i === this.files.length - 1;
      const length = isLast ? target.length - done : Math.min(target.length - done, file.size - from);
      await file.fill(target.subarray(done, done + length), from);
      done += length;
    }
  }

  async requireUnchanged(): Promise<void> {
    for (const file of this.files) await file.requireUnchanged();
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.close();
  }
}
