/** One way to keep an item. */
export interface Candidate {
  /** A whole number, 0 or more. */
  bytes: number;
  /** What it does harm, 0 or more: costs of items add up. */
  cost: number;
}
