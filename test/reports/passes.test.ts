import test from 'ava';
import { passesLine } from '../../lib/reports/passes';
import type { LayerReport } from '../../lib/types';

const layer = (passes: number | null, seconds = 1) => ({ passes, seconds }) as LayerReport;

test('a report says how many passes vertex made, and what 128 would take', (t) => {
  t.is(
    passesLine([layer(4, 2), layer(24), layer(null, 9), layer(128, 5)]),
    // (2·136/12 + 1·136/32) / 3 = 8.97
    'vertex made 4 to 24 more answers for each layer after the walk; --effort 128 would take about 9 times as long, for errors lower by some per cent',
  );
  t.regex(passesLine([layer(1)]), /^vertex made 1 more answer for each layer .* about 15 times as long/);
  t.regex(passesLine([layer(0, 0)]), /^vertex made 0 more answers .* would take longer,/);
});

test('nothing is said of passes where there are none, or as many as are worth it', (t) => {
  t.is(passesLine([]), '');
  t.is(passesLine([layer(null), layer(128), layer(500)]), '');
});
