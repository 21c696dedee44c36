// Written by `npm run methods` from the addon's table (native/core/method/methods.cpp): change it there.

/** What is known of each method; native/core/method/methods.h says what a property means. */
export const methodTable = [
  {
    name: 'vertex',
    about:
      'weights walk along directions that hardly matter to the data until most of them are on the grid; the rest is decoded. More answers, decoded in other orders, are recombined with it while that pays (--effort). On the samples no layer fits worse than with gptq on the same inputs, but where held-out samples tell that plain rounding does better on other data.',
    needsData: true,
    correctsErrors: true,
    followsClosely: true,
    certifies: false,
    compared: true,
    options: ['effort', 'damping', 'rank'],
    scales: ['search', 'max'],
    memory: { rows: 0, gram: 60, pairs: 95 },
  },
  {
    name: 'gptq',
    about:
      'weights are rounded one after the other, the rest making up for each; scales searched, codes polished.',
    needsData: true,
    correctsErrors: true,
    followsClosely: false,
    certifies: false,
    compared: true,
    options: ['damping'],
    scales: ['search', 'max'],
    memory: { rows: 0, gram: 55, pairs: 85 },
  },
  {
    name: 'gpfq',
    about:
      'weights are rounded one after the other, each on what the ones before it left of the outputs. Fast.',
    needsData: true,
    correctsErrors: true,
    followsClosely: false,
    certifies: false,
    compared: true,
    options: [],
    scales: ['search', 'max'],
    memory: { rows: 0, gram: 34, pairs: 80 },
  },
  {
    name: 'maly-saab',
    about: 'the walk of Maly & Saab alone, then plain rounding of what is left, with a certificate.',
    needsData: true,
    correctsErrors: false,
    followsClosely: false,
    certifies: true,
    compared: false,
    options: ['rank', 'box'],
    scales: ['max'],
    memory: { rows: 43, gram: 0, pairs: 0 },
  },
  {
    name: 'msq',
    about: 'every weight is rounded by itself.',
    needsData: false,
    correctsErrors: false,
    followsClosely: false,
    certifies: false,
    compared: true,
    options: [],
    scales: ['search', 'max'],
    memory: { rows: 32, gram: 12, pairs: 40 },
  },
] as const;
