import { writeLines } from '../plot';
import { settings } from './encoder';
import { type MethodName, type Result } from './plan';

const shown: MethodName[] = ['vertex', 'gptq', 'gptq, largest-weight scale, uncorrected', 'msq'];

/** Bits that a weight takes in MatMulNBits: 3 lie in 4, and each group has a float scale and a zero point of as many bits as a code; a channel's are next to nothing. */
function storedBits(setting: string): number {
  const { bits = 4, groupSize } = settings[setting]!.options;
  const width = bits === 3 ? 4 : bits;
  return typeof groupSize === 'number' ? width + (32 + width) / groupSize : width;
}

/** How far the sentence encoder's embeddings turn, by method and by what a weight takes. */
export async function plotCosines(path: string, runs: readonly Result[]): Promise<void> {
  const points = runs
    .filter(
      ({ network, setting, method, grid }) =>
        network === 'encoder' && shown.includes(method) && grid === settings[setting]!.options.grid,
    )
    .map(({ setting, method, cosine }) => ({ setting, method, x: storedBits(setting), y: 1 - cosine }));
  await writeLines(path, {
    title: 'Sentence encoder: how far embeddings turn',
    subtitle:
      'Lower is better. Left to right: 2 bits; 3 bits a channel (in 4); 3 bits (in 4) and 4 bits, groups of 32',
    // Settings of one size are points above each other, without a line.
    points: points.map(({ method, ...point }) => ({ ...point, name: method })),
    x: { title: 'stored bits a weight, with scales and zero points', domain: [2.5, 5.6] },
    y: {
      title: '1 − mean cosine',
      type: 'log',
      domain: [0.004, 0.3],
      ticks: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2],
      format: '~g',
    },
    dots: true,
  });
}
