import { createHash, randomUUID } from 'node:crypto';
import { lstat, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { VertexqError } from '../../errors';
import { InputFile } from '../../files/input-file';
import { writeWhole } from '../../files/output-file';
import { sharedBytes } from '../../native/shared';
import type { Exchange, Handed } from '../../traversal/parts';
import { readResult, writeResult } from './result-file';

/** Milliseconds: between two signs of life of a worker, without one until others do its parts too, between two looks for what is waited for. */
export interface Pauses {
  beat: number;
  stalledAfter: number;
  look: readonly [least: number, most: number];
}

const defaultPauses: Pauses = { beat: 3_000, stalledAfter: 30_000, look: [20, 500] };

/** More of a sign of life is not looked at. */
const signBytes = 100;

/** Whether a file of a folder of results is what workers hand to each other there. */
export const isOfParts = (name: string): boolean => /^([0-9a-f]{64}-\d+\.part|\d+\.alive)$/.test(name);

/** Parts that nobody is heard to be at: to be done by who waits for them. */
export class Stalled extends Error {
  constructor(readonly parts: readonly number[]) {
    super(`nobody is heard to be at the parts ${parts.join(', ')}`);
  }
}

/**
 * What workers on one run hand to each other, as files in the folder of results. A worker that waits for a part that shows no sign of life rejects with Stalled, to be started again with the
 * part as its own: two that do the same part do no harm.
 */
export class PartStore implements Exchange {
  private readonly seen = new Map<number, { sign: string; at: number }>();
  private readonly names = new Map<string, number[]>();
  private readonly settling: { files: string[]; isDone: () => Promise<boolean> }[] = [];
  private readonly own = randomUUID();
  private readonly beating: NodeJS.Timeout;
  private beats = 0;
  private lastBeat: Promise<void> | undefined;

  /** `id`: of the plan. `parts`: those that are done here. */
  constructor(
    private readonly folder: string,
    private readonly id: string,
    private readonly parts: ReadonlySet<number>,
    private readonly count: number,
    private readonly signal: AbortSignal | undefined,
    /** Aborted, nothing else is begun when what is made is kept. */
    private readonly drain: AbortSignal | undefined,
    private readonly pauses: Pauses = defaultPauses,
  ) {
    const next = () => (this.lastBeat = this.beat().catch(() => {})); // the next one may be written
    this.beating = setInterval(() => void next(), pauses.beat);
    this.beating.unref();
  }

  /** Says that this worker is at its parts. */
  async beat(): Promise<void> {
    const sign = `${this.own} ${this.beats++}`;
    for (const part of this.parts) await writeWhole(this.lifeOf(part), Buffer.from(sign));
  }

  async end(): Promise<void> {
    clearInterval(this.beating);
    await this.lastBeat;
  }

  private lifeOf = (part: number) => join(this.folder, `${part}.alive`);

  private keyOf = (name: string, part: number) =>
    createHash('sha256')
      .update(JSON.stringify([this.id, name, part]))
      .digest('hex');

  private pathOf = (name: string, part: number) =>
    join(this.folder, `${this.keyOf(name, part)}-${part}.part`);

  private requireGoing(): void {
    this.signal?.throwIfAborted();
    this.drain?.throwIfAborted();
  }

  async has(name: string, part: number): Promise<boolean> {
    this.requireGoing();
    return (await lstat(this.pathOf(name, part)).catch(() => undefined))?.isFile() ?? false;
  }

  async put(
    name: string,
    part: number,
    { facts, bytes }: Handed,
    until: 'settled' | 'end' = 'settled',
  ): Promise<void> {
    await writeResult(this.pathOf(name, part), this.keyOf(name, part), bytes, facts, this.signal);
    if (until === 'settled') this.names.set(name, [...(this.names.get(name) ?? []), part]);
    this.requireGoing();
  }

  async get(name: string, part: number, isNeedless?: () => Promise<boolean>): Promise<Handed | undefined> {
    const [least, most] = this.pauses.look;
    let pause = least;
    for (;;) {
      this.requireGoing();
      if (await this.has(name, part)) {
        const path = this.pathOf(name, part);
        const found = await readResult(path, this.keyOf(name, part), sharedBytes).catch((error: unknown) => {
          if ((error as { cause?: NodeJS.ErrnoException }).cause?.code !== 'ENOENT') throw error;
          return null; // it was taken away just now
        });
        if (found) return found;
        if (found === undefined)
          throw new VertexqError(
            'ERR_VERTEXQ_INCOMPLETE',
            `What part ${part} of the run has handed over is damaged: ${path}. Remove it, and start the work anew`,
          );
      }
      if (await isNeedless?.()) return undefined;
      await this.requireAlive(part);
      await setTimeout(pause, undefined, this.signal && { signal: this.signal }).catch(() => {
        this.requireGoing();
      });
      pause = Math.min(most, 2 * pause);
    }
  }

  /** Throws Stalled where a part has shown no sign of life for so long, with all others of which that is so. */
  private async requireAlive(waited: number): Promise<void> {
    const now = performance.now();
    const stalled: number[] = [];
    for (let part = 0; part < this.count; part++) {
      if (this.parts.has(part)) continue;
      const path = this.lifeOf(part);
      const read = async (file: InputFile) =>
        Buffer.from(await file.read(0, Math.min(file.size, signBytes))).toString('hex');
      const sign = await InputFile.with(path, read, { followLinks: false }).catch(() => '');
      const before = this.seen.get(part);
      if (before?.sign !== sign) this.seen.set(part, { sign, at: now });
      else if (now - before.at > this.pauses.stalledAfter) stalled.push(part);
    }
    if (stalled.includes(waited)) throw new Stalled(stalled);
    if (this.parts.has(waited))
      throw new VertexqError(
        'ERR_VERTEXQ_INCOMPLETE',
        `What part ${waited} of the run has handed over was taken away from ${this.folder}: start the work anew`,
      );
  }

  async settle(isDone: () => Promise<boolean>): Promise<void> {
    const files = [...this.names].flatMap(([name, parts]) => parts.map((part) => this.pathOf(name, part)));
    this.names.clear();
    if (files.length > 0) this.settling.push({ files, isDone });
    while (this.settling.length > 0 && (await this.settling[0]!.isDone()))
      for (const file of this.settling.shift()!.files) await rm(file, { force: true });
  }
}
