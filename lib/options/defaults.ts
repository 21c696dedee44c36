/** Defaults that are numbers. */
export const defaults = {
  bits: 4,
  holdout: 0.1,
  sequenceLength: 512,
  modelMemory: 2 ** 29,
  checkpointMemory: 768 * 2 ** 20,
  comparedBits: [2, 3, 4],
} as const;
