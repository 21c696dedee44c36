import test from 'ava';
import { fuzzGguf } from './fuzz';

test('broken files end in an error that says so, or are read as they are', async (t) => {
  const count = 2000;
  const accepted = await fuzzGguf(count, 1);
  t.log(`${accepted} of ${count} were valid still`);
  t.true(accepted > 100 && accepted < 0.8 * count);
});
