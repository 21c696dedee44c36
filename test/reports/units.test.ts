import test from 'ava';
import {
  formatBytes,
  formatCount,
  formatDecibels,
  formatPercent,
  percentCell,
  formatSeconds,
  plural,
} from '../../lib/reports/units';
import { fewOf, shorten, shortenNames, visible } from '../../lib/reports/text';

test('bytes', (t) => {
  t.is(formatBytes(0), '0 B');
  t.is(formatBytes(999), '999 B');
  t.is(formatBytes(1000), '1.00 kB');
  t.is(formatBytes(12_345_678), '12.3 MB');
  t.is(formatBytes(999_499), '999 kB');
  t.is(formatBytes(999_960), '1.00 MB');
  t.is(formatBytes(3.2e15), '3.20 PB');
  t.is(formatBytes(4.5e18), '4500 PB');
  t.is(formatBytes(NaN), '–');
});

test('seconds', (t) => {
  t.is(formatSeconds(0.0454), '45 ms');
  t.is(formatSeconds(0.9996), '1.0 s');
  t.is(formatSeconds(59.94), '59.9 s');
  t.is(formatSeconds(59.96), '1 min 00 s');
  t.is(formatSeconds(320), '5 min 20 s');
  t.is(formatSeconds(3599.6), '1 h 00 min');
  t.is(formatSeconds(7500), '2 h 05 min');
});

test('percent, decibels, counts', (t) => {
  t.is(formatPercent(0), '0 %');
  t.is(formatPercent(0.0123456), '1.23 %');
  t.is(formatPercent(0.09996), '10.0 %');
  t.is(formatPercent(0.9996), '100 %');
  t.is(formatPercent(12.345), '1235 %');
  t.is(formatPercent(0.000123), '0.0123 %');
  t.is(formatPercent(-0.000123), '-0.0123 %');
  t.is(formatPercent(1e-9), '1.0e-7 %');
  t.is(formatPercent(Infinity), '∞ %');
  const column = [0.00914, 0.0151, 0.545, 1.2345, 0.00099949, 0.00099, 1e-9, 0, -0.0123, Infinity, null, NaN];
  t.deepEqual(column.map(percentCell), [
    '0.91 %',
    '1.51 %',
    '54.50 %',
    '123.45 %',
    '0.10 %',
    '0.0990 %',
    '1.0e-7 %',
    '0 %',
    '-1.23 %',
    '∞ %',
    '–',
    '–',
  ]);
  t.is(formatPercent(null), '–');
  t.is(formatPercent(NaN), '–');
  t.is(formatDecibels(27.123), '27.1 dB');
  t.is(formatDecibels(null), '–');
  t.is(formatDecibels(Infinity), '–');
  t.is(formatCount(12), '12');
  t.is(formatCount(12.345), '12.3');
  t.is(formatCount(1834.25), '1834');
  t.is(formatCount(null), '–');
  t.is(plural(1, 'layer'), '1 layer');
  t.is(plural(0, 'layer'), '0 layers');
});

test('names are shortened in the middle, where they differ least', (t) => {
  t.is(shorten('abcdefghij', 10), 'abcdefghij');
  t.is(shorten('abcdefghij', 7), 'abc…hij');
  t.is(shorten('abcdefghij', 2), 'ab');
  t.is(shorten('😀😀😀😀😀', 3), '😀…😀');
  t.deepEqual(shortenNames(['/a/long/name', '/b'], 12), ['/a/long/name', '/b']);
  t.deepEqual(shortenNames(['/encoder/layer.0/query/MatMul', '/encoder/layer.1/key/MatMul'], 12), [
    '…0/query…',
    '…1/key…',
  ]);
  t.deepEqual(shortenNames(['/encoder/layer.0/query/MatMul'], 11), ['/enco…atMul']);
  const same = ['/a/b/c/d/e/f', '/a/b/c/d/e/f'];
  t.true(shortenNames(same, 5).every((name) => name.length <= 5));
});

test('lists and control characters', (t) => {
  t.is(fewOf(['a', 'b', 'c'], 2), 'a, b, c');
  t.is(fewOf(['a', 'b', 'c', 'd'], 2), 'a, b and 2 more');
  t.is(visible('a\x1b[31mb\nc\u202ed–é'), 'a\\x1b[31mb\\x0ac\\u202ed–é');
});
