import type { LayerRows } from '../../fit/layer-rows';

// How much rows are weighted: chosen by what quantized networks give on other data (docs/curvature.md).

/** Powers of the mean square gradients that are tried, the largest first. */
const powers = [1, 0.7, 0.5, 0.35, 0.25, 0.15];
/** The largest of a layer with error correction, which is fitted to all rows: those of little weight are needed still. */
const mostCorrected = 0.5;
/** Added to mean squares, whose mean is 1: no row counts for nothing because the sample of outputs that gave it so little was small. */
const floor = 0.02;
/** For each input as many equal rows as these are to be left at least: a fit to fewer follows them alone. */
const rowsPerInput = 3;
/** The part of the correction of errors before a layer that is asked for where rows are weighted. */
const correction = 1;

/** What is known of mean squares after a pass over all rows: for each power Σs and Σs² of s = (square/mean + floor)^power. */
export class PowerSums {
  private readonly powers: readonly number[];
  private readonly sums: { sum: number; squares: number }[];
  private rows = 0;

  constructor(
    private readonly mean: number,
    isCorrected: boolean,
  ) {
    this.powers = powers.filter((power) => !isCorrected || power <= mostCorrected);
    this.sums = this.powers.map(() => ({ sum: 0, squares: 0 }));
  }

  add(squares: Float32Array): void {
    this.rows += squares.length;
    for (const square of squares) {
      const ratio = square / this.mean + floor;
      for (const [i, power] of this.powers.entries()) {
        const weight = ratio ** power;
        this.sums[i]!.sum += weight;
        this.sums[i]!.squares += weight ** 2;
      }
    }
  }

  /** How to weigh rows with the largest power that leaves enough of them, of `taken` that the fit sees; or why none does. */
  choose(inFeatures: number, taken: number): RowScale | string {
    let most = 0;
    for (const [i, power] of this.powers.entries()) {
      const { sum, squares } = this.sums[i]!;
      const effective = (sum ** 2 / squares) * Math.min(1, taken / this.rows);
      most = Math.max(most, effective);
      if (effective >= rowsPerInput * inFeatures)
        return { mean: this.mean, power, meanOfPowers: sum / this.rows };
    }
    return `weighted, its rows would count as ${Math.round(most)} at the most, fewer than ${rowsPerInput} for each of ${inFeatures} inputs`;
  }
}

/** How mean squares become weights with the mean 1. */
export interface RowScale {
  /** Of the mean squares. */
  mean: number;
  power: number;
  /** Of their powers. */
  meanOfPowers: number;
}

export const weightsOf = (squares: Float32Array, { mean, power, meanOfPowers }: RowScale): Float32Array =>
  squares.map((square) => (square / mean + floor) ** power / meanOfPowers);

/** The part of the correction that is asked for. */
export const correctionOf = ({ isWeighted }: LayerRows): number => (isWeighted ? correction : 1);
