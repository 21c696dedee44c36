import { mulberry32, type Random } from '../models/trainer/random';

/** Choices of one case: all that is random in it comes from here. */
export class Chooser {
  private readonly random: Random;

  constructor(seed: number, run: number) {
    // Neighbouring seeds must not give neighbouring states.
    this.random = mulberry32((Math.imul(seed, 0x9e3779b1) ^ Math.imul(run + 1, 0x85ebca6b)) >>> 0);
    this.random();
  }

  /** A whole number from 0 and below `limit`. */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Throws a RangeError where there is nothing to choose from. */
  of<Item>(items: ArrayLike<Item>): Item {
    if (items.length === 0) throw new RangeError('nothing to choose from');
    return items[this.below(items.length)]!;
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }
}
