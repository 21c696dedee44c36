// One colour and one mark a method, in every plot of this package: after Okabe and Ito, told apart with any colour vision, 3 to 1 or more on white.

const looks: Record<string, { color: string; shape: Shape }> = {
  vertex: { color: '#0072b2', shape: 'circle' },
  gptq: { color: '#b94700', shape: 'square' },
  gpfq: { color: '#00795a', shape: 'triangle' },
  'maly-saab': { color: '#a8487f', shape: 'diamond' },
  msq: { color: '#57606a', shape: 'triangle-down' },
};

export type Shape = 'circle' | 'square' | 'triangle' | 'diamond' | 'triangle-down';

const others: { color: string; shape: Shape } = { color: '#1b1f24', shape: 'circle' };

/** Of a method, or a variant of one: `gptq, uncorrected`. What is no method is black. */
export const lookOfMethod = (name: string): { color: string; shape: Shape } =>
  looks[name.split(',')[0]!] ?? others;
