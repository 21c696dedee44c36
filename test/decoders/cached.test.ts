import test from 'ava';
import { emptyCache, logitsInPieces, type Padded } from './generate';
import { sessionOf, withDecoder } from './run';
import { cases, weightsIn } from './tiny';

for (const golden of cases)
  test(`with a cache, in one go, token by token and with padding, logits are the same: ${golden.name}`, async (t) => {
    const { ids, config, logits } = golden;
    const length = ids[0]!.length;
    const values = logits.flat(2);
    const range = Math.max(...values) - Math.min(...values);
    const pads = ids.map((_, text) => text * 3);
    const ways: [what: string, texts: Padded, pieces: number[]][] = [
      ['in one go', { ids, padding: ids.map(() => 0) }, [length]],
      ['token by token', { ids, padding: ids.map(() => 0) }, Array<number>(length).fill(1)],
      [
        'padded',
        {
          ids: ids.map((own, text) => [...Array<number>(pads[text]!).fill(1), ...own].slice(0, length)),
          padding: pads,
        },
        [length - 2, 2],
      ],
    ];
    await withDecoder(
      { config, weights: weightsIn(golden), dtype: 'BF16' },
      length,
      async (decoder) => {
        const { keyValueHeads, headSize } = decoder.shape;
        const session = await sessionOf(decoder);
        for (const [what, texts, pieces] of ways) {
          const made = await logitsInPieces(
            session,
            texts,
            pieces,
            emptyCache(config, [ids.length, keyValueHeads, headSize]),
          );
          let worst = 0;
          for (const [text, own] of made.entries())
            for (const [token, row] of own.slice(texts.padding[text]).entries())
              for (const [i, value] of row.entries())
                worst = Math.max(worst, Math.abs(value - logits[text]![token]![i]!));
          t.true(worst <= 1e-4 * range, `${what}: off by ${worst} of ${range}`);
        }
        await session.release();
      },
      true,
    );
  });
