import type { Case } from './case';

/** Twice as deep each time. */
export function timeCases(quick: boolean): Case[] {
  const [width, rows, batch] = quick ? [64, 256, 64] : [512, 4096, 512];
  return (quick ? [2, 4, 8] : [4, 8, 16, 32]).map((layers) => ({
    layers,
    width,
    external: false,
    rows,
    batch,
    options: { method: 'vertex', effort: 0, bits: 4, groupSize: 32 },
  }));
}

/** The same but for their depth. */
export function memoryCases(quick: boolean): Case[] {
  const [width, rows, batch] = quick ? [128, 512, 128] : [2048, 8192, 512];
  return (quick ? [2, 8] : [8, 32]).map((layers) => ({
    layers,
    width,
    external: true,
    rows,
    batch,
    options: { method: 'gptq', scale: 'max', bits: 4, groupSize: 32 },
  }));
}

/** 48 layers of 4096 × 4096 are 3 GiB. */
export function largeCase(quick: boolean): Case {
  const [layers, width] = quick ? [12, 256] : [48, 4096];
  return {
    layers,
    width,
    external: true,
    rows: 64,
    batch: 16,
    options: { method: 'msq', scale: 'max', bits: 4, groupSize: 32 },
  };
}
