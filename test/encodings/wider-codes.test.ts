import test from 'ava';
import { join } from 'node:path';
import { mostBits, widerWarnings } from '../../lib/encodings/wider-codes';
import { planModel } from '../../lib/index';

const scheme = (bits: number, levels = 2 ** bits) =>
  ({ grid: levels % 2 === 0 ? 'full-range' : 'integer', bits, levels, groupSize: 32 }) as const;

test('the most bits of the same bytes', (t) => {
  const inContainers = ({ bits }: { bits: number }) => (bits <= 2 ? 2 : bits <= 4 ? 4 : 8);
  for (const [bits, most] of Object.entries([0, 2, 2, 4, 4, 8, 8, 8, 8]).slice(1))
    t.is(mostBits(scheme(Number(bits)), inContainers), most);
  // One level less than a power of two is as usual; other numbers of levels are a choice.
  t.is(mostBits(scheme(3, 7), inContainers), 4);
  t.is(mostBits(scheme(3, 5), inContainers), 3);
  t.is(
    mostBits(scheme(3), ({ bits }) => bits),
    3,
  );
  // What cannot be held, above or here.
  t.is(
    mostBits(scheme(5), ({ bits }) => (bits === 8 ? undefined : 1)),
    7,
  );
  t.is(
    mostBits(scheme(5), () => undefined),
    5,
  );
});

test('a line for each pair of widths', (t) => {
  t.deepEqual(
    widerWarnings('matmulnbits', [
      { name: 'a', bits: 3, most: 4 },
      { name: 'b', bits: 4, most: 4 },
      { name: 'c', bits: 5, most: 8 },
      { name: 'd', bits: 3, most: 4 },
    ]).map((line) =>
      line.replace(/ bits take as many bytes as (\d) .*\((.*)\) \[WARN_VERTEXQ_WIDER_BITS\]$/, '→$1 $2'),
    ),
    ['3→4 a, d', '5→8 c'],
  );
});

test('networks: said in the plan, before there is any work', async (t) => {
  const model = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');
  const said = async (bits: number, format: 'matmulnbits' | 'qdq' | 'float') =>
    (await planModel(model, 'out.onnx', { bits, format })).warnings.filter((line) =>
      /as many bytes/.test(line),
    );
  t.regex((await said(3, 'matmulnbits'))[0]!, /^3 bits take as many bytes as 4 in the format "matmulnbits"/);
  t.regex((await said(6, 'qdq'))[0]!, /^6 bits take as many bytes as 8/);
  t.deepEqual(await said(4, 'matmulnbits'), []);
  t.deepEqual(await said(3, 'float'), []);
});
