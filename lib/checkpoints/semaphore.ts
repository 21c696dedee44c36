/** Shares a number of units among those who wait for them, first come first served. */
export class Semaphore {
  private free: number;
  private readonly waiting: { count: number; go: () => void }[] = [];

  constructor(private readonly total: number) {
    this.free = total;
  }

  /** Runs `use` while it has `count` units; more than there are count as all. */
  async with<Result>(count: number, use: () => Promise<Result>): Promise<Result> {
    const taken = Math.min(count, this.total);
    if (this.waiting.length > 0 || this.free < taken)
      await new Promise<void>((go) => this.waiting.push({ count: taken, go }));
    else this.free -= taken;
    try {
      return await use();
    } finally {
      this.free += taken;
      while (this.waiting[0] && this.waiting[0].count <= this.free) {
        const next = this.waiting.shift()!;
        this.free -= next.count;
        next.go();
      }
    }
  }
}
