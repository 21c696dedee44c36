// How scales are changed: chosen by held-out errors of blocks of SmolLM2 (docs/curvature.md).

/** Parts of the gradients before, and of their squares, that are kept at each step. */
const kept = { gradient: 0.9, square: 0.95 };
/** By what part of itself a scale changes in the first step; in later ones by less, down to nothing. */
const firstStep = 0.006;

/** Steps for the logarithms of scales, by their gradients of one batch after the other (Adam; Kingma & Ba, 2015), with a rate that falls linearly to 0. */
export class ScaleSteps {
  private readonly gradients: Float64Array;
  private readonly squares: Float64Array;
  private done = 0;

  /** `scales` are changed. `steps`: how many there will be; `first`: by what part of itself a scale changes in the first. */
  constructor(
    private readonly scales: Float32Array,
    private readonly steps: number,
    private readonly first = firstStep,
  ) {
    this.gradients = new Float64Array(scales.length);
    this.squares = new Float64Array(scales.length);
  }

  /** `gradient`: of the error by each scale. A scale of 0 stays 0, and none changes its sign. */
  take(gradient: Float32Array): void {
    const { scales, gradients, squares } = this;
    const rate = this.first * (1 - this.done / this.steps);
    this.done++;
    const [first, second] = [1 - kept.gradient ** this.done, 1 - kept.square ** this.done];
    for (const [i, scale] of scales.entries()) {
      // By the logarithm.
      const slope = gradient[i]! * scale;
      const mean = (gradients[i] = kept.gradient * gradients[i]! + (1 - kept.gradient) * slope);
      const square = (squares[i] = kept.square * squares[i]! + (1 - kept.square) * slope ** 2);
      if (square > 0) scales[i] = scale * Math.exp((-rate * (mean / first)) / Math.sqrt(square / second));
    }
  }
}
