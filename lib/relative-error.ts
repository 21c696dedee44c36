import type { Norms } from './native/binding';

/** ‖W − Ŵ‖ / ‖W‖ of sums of squares: 0 where nothing differs, of zeros too. */
export const relativeError = ({ error, signal }: Norms): number =>
  error === 0 ? 0 : Math.sqrt(error / signal);
