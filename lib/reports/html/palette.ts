// The colours of reports and plots, told apart with any colour vision (after Okabe and Ito, darker where they would be faint on white).

/** Of a page, by what they are for: text and marks stand on `ground` and `surface`. */
export interface Theme {
  ground: string;
  surface: string;
  /** Text: 4.5 to 1 or more. */
  text: string;
  muted: string;
  link: string;
  warning: string;
  /** Borders of what can be used, and marks of plots: 3 to 1 or more. */
  control: string;
  mark: string;
  hot: string;
  dot: string;
  chosen: string;
  stuck: string;
  other: string;
  /** Lines that say nothing by themselves. */
  line: string;
}

export const light: Theme = {
  ground: '#ffffff',
  surface: '#f5f7f9',
  text: '#1b1f24',
  muted: '#57606a',
  link: '#0550ae',
  warning: '#7d4e00',
  control: '#6e7781',
  mark: '#0072b2',
  hot: '#b94700',
  dot: '#1b1f24',
  chosen: '#00795a',
  stuck: '#a8487f',
  other: '#6e7781',
  line: '#d5dae0',
};

export const dark: Theme = {
  ground: '#0f1419',
  surface: '#181f27',
  text: '#e6edf3',
  muted: '#9aa7b4',
  link: '#79b8ff',
  warning: '#e3b341',
  control: '#8593a1',
  mark: '#4aa3df',
  hot: '#f0883e',
  dot: '#e6edf3',
  chosen: '#2fb38c',
  stuck: '#d885b5',
  other: '#8593a1',
  line: '#303944',
};

const isText = ['text', 'muted', 'link', 'warning'];

/** Least contrast of a theme's colour with its grounds (WCAG 2.2 AA); 0 where it carries nothing. */
export function leastContrast(name: keyof Theme): number {
  if (['ground', 'surface', 'line'].includes(name)) return 0;
  return isText.includes(name) ? 4.5 : 3;
}
