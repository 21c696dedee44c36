import test from 'ava';
import { fuzzSafetensors } from './fuzz';

test('broken files end in an error that says so, or are read as they are', async (t) => {
  const count = 20_000;
  const accepted = await fuzzSafetensors(count, 1);
  t.log(`${accepted} of ${count} were valid still`);
  t.true(accepted > 100 && accepted < count / 2);
});
