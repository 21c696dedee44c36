import type { Case } from './case';
import { type Chain, writeChain } from './models';
import { writeSound } from './sound';

function chain(given: Chain, data: Omit<Case, 'title' | 'shape' | 'write'>): Case {
  const { layers, width } = given;
  return {
    ...data,
    title: `${layers} × ${width}²`,
    shape: [width],
    write: (file) => writeChain(file, given),
  };
}

/** Twice as deep each time. */
export function timeCases(quick: boolean): Case[] {
  const [width, samples, batch] = quick ? [64, 256, 64] : [512, 4096, 512];
  return (quick ? [2, 4, 8] : [4, 8, 16, 32]).map((layers) =>
    chain(
      { layers, width, external: false },
      { samples, batch, options: { method: 'vertex', effort: 0, bits: 4, groupSize: 32 } },
    ),
  );
}

/** The same but for their depth. */
export function memoryCases(quick: boolean): Case[] {
  const [width, samples, batch] = quick ? [128, 512, 128] : [2048, 8192, 512];
  return (quick ? [2, 8] : [8, 32]).map((layers) =>
    chain(
      { layers, width, external: true },
      { samples, batch, options: { method: 'gptq', scale: 'max', bits: 4, groupSize: 32 } },
    ),
  );
}

/** 48 layers of 4096 × 4096 are 3 GiB. */
export function largeCase(quick: boolean): Case {
  const [layers, width] = quick ? [12, 256] : [48, 4096];
  return chain(
    { layers, width, external: true },
    { samples: 64, batch: 16, options: { method: 'msq', scale: 'max', bits: 4, groupSize: 32 } },
  );
}

/** Clips of 9 seconds, 16,000 numbers a second. */
export function soundCases(quick: boolean): Case[] {
  const length = quick ? 16_000 : 144_000;
  return (quick ? [1, 2] : [3, 12]).map((clips) => ({
    ...{ title: String(clips), shape: [1, length], samples: clips, batch: clips, write: writeSound },
    options: { method: 'gptq', bits: 4, groupSize: 'channel', holdout: 0 },
  }));
}
