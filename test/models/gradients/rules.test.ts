import test from 'ava';
import { check } from './check';
import { elementwise } from './cases/elementwise';
import { products } from './cases/products';

const cases = [...products, ...elementwise];

for (const given of cases) test(given.name, (t) => check(t, given));
