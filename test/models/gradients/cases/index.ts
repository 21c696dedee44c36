import { attention } from './attention';
import { elementwise } from './elementwise';
import { movement } from './movement';
import { normalisations } from './normalisations';
import { products } from './products';
import { reductions } from './reductions';
import { windows } from './windows';

export const cases = [
  ...products,
  ...elementwise,
  ...reductions,
  ...movement,
  ...normalisations,
  ...windows,
  ...attention,
];
