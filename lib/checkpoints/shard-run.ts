import { stat } from 'node:fs/promises';
import { VertexqError } from '../errors';
import { OutputFile } from '../files/output-file';
import { InputFile } from '../files/input-file';
import { writeKnown } from '../containers/laid-out';
import type { TensorFile } from '../containers/tensor-file';
import { checksumPlace, withoutDigits, writeChecksum } from '../runs/own-checksum';
import type { ShardPlan } from './plan';
import type { Target } from './units';

/** A file of the output, being made, or made by an earlier run. */
export class ShardRun {
  private remaining: number;
  private opened: Promise<void> | undefined;
  private making: OutputFile | undefined;
  private made: InputFile | undefined;

  constructor(
    readonly plan: ShardPlan,
    /** What its bytes come from. */
    private readonly sources: readonly TensorFile[],
    readonly path: string,
    private readonly partial: string,
    /** Whether the interrupted run had done all of it. */
    private readonly done: boolean,
    /** Whether it says the checksum of all, and gets its name only when all others have theirs. */
    readonly isLast: boolean,
  ) {
    this.remaining = plan.units.length;
  }

  /** Opens what is there, once; a new file gets its header. */
  async open(): Promise<void> {
    await (this.opened ??= this.openOnce());
  }

  private async openOnce(): Promise<void> {
    // A file under the name while another is on its way, or with units that are not done, is of an earlier run: it will be replaced.
    const own = this.done && (await sizeOf(this.partial)) === undefined;
    if (own && (await sizeOf(this.path)) === this.plan.size) {
      this.made = await InputFile.open(this.path);
      const place = this.isLast ? await checksumPlace(this.made) : undefined;
      for (const { position, bytes } of this.plan.known) {
        const found = await this.made.read(position, bytes.length);
        if (place !== undefined) withoutDigits(found, position, place);
        if (Buffer.compare(found, bytes) !== 0) throw this.damaged();
      }
      return;
    }
    this.making = await OutputFile.create(this.path, this.partial, true);
    await writeKnown(this.making, this.plan);
  }

  /** Whether the interrupted run completed the file. */
  get complete(): boolean {
    return this.made !== undefined;
  }

  damaged(): VertexqError {
    return new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `${this.path} is not what the interrupted run wrote: was it changed? Remove it to have it made again.`,
    );
  }

  /** Writes bytes that lie one after the other to their targets. */
  async write(bytes: Uint8Array, targets: readonly Target[], signal: AbortSignal | undefined): Promise<void> {
    let at = 0;
    for (const { position, length } of targets) {
      const part = bytes.subarray(at, at + length);
      if (length > 0) await this.making!.write(part, this.plan.dataStart + position, signal);
      at += length;
    }
  }

  /** Reads them back; false where the file ends before. */
  async fill(bytes: Uint8Array, targets: readonly Target[]): Promise<boolean> {
    let at = 0;
    for (const { position, length } of targets) {
      const part = bytes.subarray(at, at + length);
      const from = this.plan.dataStart + position;
      if (this.made) await this.made.fill(part, from);
      else if (!(await this.making!.fill(part, from))) return false;
      at += length;
    }
    return true;
  }

  /** Takes a unit off; after the last one the file gets its name, unless it is to be the last. */
  async finishUnit(): Promise<void> {
    if (--this.remaining > 0 || this.isLast) return;
    await this.finish();
  }

  /** Has a file that is whole say its checksum, which is that of others too. */
  async seal(others: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    await this.open();
    const making = this.making;
    if (!making) return;
    const opened: InputFile[] = [];
    try {
      for (const path of others) opened.push(await InputFile.open(path));
      await writeChecksum(making, this.plan.size, opened, signal);
    } finally {
      for (const file of opened) await file.close();
    }
  }

  /** Gives the file its name. Rejects with ERR_VERTEXQ_FILE where the input has changed meanwhile. */
  async finish(): Promise<void> {
    await this.open();
    if (this.made) return;
    await this.requireUnchanged();
    await this.making!.commit(this.plan.size);
  }

  /** Rejects with ERR_VERTEXQ_FILE where the input has been written since it was opened. */
  async requireUnchanged(): Promise<void> {
    for (const source of this.sources) await source.requireUnchanged();
  }

  async close(): Promise<void> {
    await this.opened?.catch(() => {});
    await this.making?.close();
    await this.made?.close();
  }
}

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
