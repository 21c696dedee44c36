import type { LayerRows, Sums } from '../fit/layer-rows';
import { isObject } from '../realms';
import { type Handed, inOnePiece, type Parts } from './parts';

/** What rows come to, each part's by itself and then all of them in the order of the parts: so that it is the same numbers whoever has summed which. */
export class PartSums {
  readonly total: LayerRows;
  private open: { part: number; sums: LayerRows } | null = null;
  /** Parts whose sums were handed over from here. */
  private readonly put = new Set<number>();

  /** `name`: what others know it by. */
  constructor(
    private readonly make: () => LayerRows,
    private readonly parts: Parts | null,
    private readonly name: string,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.total = make();
  }

  /** What rows of a part are added to. Parts come one after the other. */
  async of(part: number): Promise<LayerRows> {
    if (!this.parts) return this.total;
    if (this.open?.part !== part) {
      await this.close();
      this.open = { part, sums: this.make() };
    }
    return this.open.sums;
  }

  private async close(): Promise<void> {
    const { open, parts } = this;
    this.open = null;
    if (!open) return;
    const sums = await open.sums.sums(this.signal);
    if (!parts!.exchange) await this.total.addSums(sums, this.signal);
    else await this.handOver(open.part, sums);
  }

  private async handOver(part: number, sums: Sums): Promise<void> {
    this.put.add(part);
    const { matrices, ...facts } = sums;
    await this.parts!.exchange!.put(this.name, part, {
      facts,
      bytes: await inOnePiece(matrices, this.signal),
    });
  }

  /** Adds what all parts have come to. Returns false where `isNeedless` was true before all was there. */
  async collect(isNeedless: () => Promise<boolean>): Promise<boolean> {
    await this.close();
    const { exchange, count, isOwn } = this.parts ?? {};
    if (!exchange) return true;
    for (let part = 0; part < count!; part++) {
      // It had no rows of this kind.
      if (isOwn!(part) && !this.put.has(part)) await this.handOver(part, await this.make().sums());
      const handed = await exchange.get(this.name, part, isNeedless);
      if (!handed) return false;
      await this.total.addSums(sumsOf(handed, this.total), this.signal);
    }
    return true;
  }
}

/** Throws where what was handed over is no such sums. */
function sumsOf({ facts, bytes }: Handed, { inFeatures, kind }: LayerRows): Sums {
  const { samples, offered, sumsSingles, weights } = isObject(facts) ? facts : {};
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const isSum = (value: unknown) => typeof value === 'number' && Number.isFinite(value);
  const fits =
    isCount(samples) &&
    isCount(offered) &&
    typeof sumsSingles === 'boolean' &&
    (weights === null || (isObject(weights) && isSum(weights['sum']) && isSum(weights['squares'])));
  const size = inFeatures ** 2;
  const count = samples === 0 ? 0 : kind === 'pairs' ? 3 : 1;
  if (!fits || bytes.length !== 8 * size * count) throw new Error('sums of other data were handed over');
  const values = new Float64Array(bytes.buffer, bytes.byteOffset, size * count);
  const matrices = Array.from({ length: count }, (_, i) => values.subarray(i * size, (i + 1) * size));
  return { samples, offered, sumsSingles, weights, matrices } as unknown as Sums;
}
