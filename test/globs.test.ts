import fc from 'fast-check';
import test from 'ava';
import { patternMatcher } from '../lib/glob-patterns';
import { escaped, exactName, matcher, NamesByGlob, requirePatterns } from '../lib/globs';

test('trust 18: a glob that is too long or none is a RangeError that names the option', (t) => {
  for (const pattern of ['a'.repeat(100_000), '*'.repeat(100_000), `{${'a,'.repeat(50_000)}b}`])
    for (const name of ['layers', 'skip', 'overrides[0].layers'])
      t.throws(() => requirePatterns(name, ['*', pattern]), {
        instanceOf: RangeError,
        message: new RegExp(
          `^The pattern "[^ ]{57}\\.\\.\\." of the "${name.replace(/[[\].]/g, '\\$&')}" option has ${pattern.length} characters: expected at most 1000`,
        ),
      });
  t.deepEqual(requirePatterns('skip', 'a'.repeat(1000)), ['a'.repeat(1000)]);
});

test('trust 9, 18: time is linear in the length of a name', (t) => {
  const name = `${'embed'.repeat(80_000)}.x.weight`;
  const started = performance.now();
  const stars = Array.from({ length: 20 }, () => '*e').join('');
  for (const [pattern, found] of [
    [`${stars}*z`, false],
    [`*${'[xy]*'.repeat(10)}`, false],
    ['*{q,k,v}_proj*', false],
    [`${'*?'.repeat(20)}.weight`, true],
    ['*.x.*', true],
  ] as const)
    t.is(matcher([pattern])(name), found, pattern);
  t.true(performance.now() - started < 5000);
});

test('trust 9, 18: groups, braces and folders take no time without end either', (t) => {
  const started = performance.now();
  const long = 'ab'.repeat(2000);
  const cases: [pattern: string, name: string, found: boolean][] = [
    ['+(*a|*b|*c)z', long, false],
    ['*(*(*(a|b)))z', long, false],
    ['+(a|b|ab|ba)?(z)+(a|b)z', long, false],
    ['@(*|*)@(*|*)@(*|*)@(*|*)@(*|*)@(*|*)@(*|*)@(*|*)z', long, false],
    ['{*,{*,*}}{*,{*,*}}{*,{*,*}}{*,{*,*}}{*,{*,*}}z', long, false],
    [`${'**/'.repeat(30)}z`, 'a/'.repeat(500), false],
    ['(a|b|ab)+z', long, false],
    ['!(+(a|b|ab)z)', long, true],
    ['!(*(a|ab|b))', long, false],
    [`${'?(a)'.repeat(60)}${'a'.repeat(60)}`, 'a'.repeat(60), true],
  ];
  for (const [pattern, name, found] of cases) t.is(matcher(['x', pattern])(name), found, pattern);
  t.true(performance.now() - started < 5000);
  // A negation within others has to be tried from every place: it is refused where that is too much.
  const error = t.throws(() => matcher([`${'!(*!(*z)b)'.repeat(20)}c`])(long), { instanceOf: RangeError });
  t.regex(error.message, /^The pattern ".*" takes too long for a name of 4000 characters: say it without/);
  t.true(performance.now() - started < 30_000);
  t.throws(() => requirePatterns('skip', 'layers.{0..99999999}'), {
    instanceOf: RangeError,
    message:
      'The pattern "layers.{0..99999999}" of the "skip" option is no glob: {0..99999999} stands for 100000000 names: expected at most 256',
  });
});

test('trust 9: of very many globs that are names each takes a look, not one at every name', (t) => {
  const names = Array.from({ length: 50_000 }, (_, i) => `model.layers.${i}.mlp(x).weight`);
  const globs = names.map(escaped);
  const started = performance.now();
  const matches = matcher(globs);
  t.true(names.every(matches));
  t.false(matches('model.layers.50000.mlp(x).weight'));
  const index = new NamesByGlob(names);
  t.true(globs.every((glob) => index.has(glob)));
  t.true(performance.now() - started < 20_000);
});

function compiles(pattern: string): boolean {
  try {
    patternMatcher(pattern);
    return true;
  } catch {
    return false;
  }
}

test('a glob that is a name matches that name alone, as the automaton says', (t) => {
  const text = fc.string({ unit: fc.constantFrom(...'ab.\\*?[](){}!@+|,"/'), maxLength: 8 });
  fc.assert(
    fc.property(text, text, (pattern, other) => {
      fc.pre(compiles(pattern));
      const name = exactName(pattern);
      const plain = patternMatcher(pattern);
      if (name !== undefined) t.deepEqual([plain(name), plain(other)], [true, other === name]);
      t.is(matcher([pattern])(other), plain(other));
      t.is(exactName(escaped(other)), other === '' ? undefined : other);
      t.deepEqual(
        [...new NamesByGlob([other, 'a', other]).matching(pattern)],
        [other, 'a', other].filter(plain),
      );
    }),
    { numRuns: 20_000 },
  );
});

test('globs match what they always did', (t) => {
  const cases: [pattern: string, matching: string[], others: string[]][] = [
    ['*', ['a', 'a/b', 'a.b', '.a'], ['']],
    ['*_proj', ['q_proj', 'model.layers.0.q_proj', '/a/k_proj', '_proj'], ['q_proj.weight', 'proj']],
    ['a?c', ['abc', 'a.c'], ['a/c', 'ac', 'abbc']],
    ['layers.[0-3].*', ['layers.2.q'], ['layers.4.q', 'layers.12.q']],
    ['[^ab]x', ['cx'], ['ax', 'bx', 'x']],
    ['*.{q,k}_proj.{weight,bias}', ['a.q_proj.weight', 'b.k_proj.bias'], ['a.v_proj.weight']],
    ['layers.{0..2}.*', ['layers.1.q'], ['layers.3.q']],
    ['!a*', ['b'], ['ab']],
    ['@(q|k)_proj', ['q_proj'], ['v_proj']],
    ['**/b', ['b', 'a/b', 'a/c/b'], ['ab']],
    ['a\\*b', ['a*b'], ['axb']],
    ['{a,{b,c}}d', ['ad', 'bd', 'cd'], ['d']],
    ['[ab]+', ['a', 'abab'], ['c']],
    ['layers.{8..11}.q', ['layers.8.q', 'layers.10.q', 'layers.11.q'], ['layers.1.q', 'layers.12.q']],
    ['{c..a}x', ['ax', 'bx', 'cx'], ['dx']],
    ['?(pre_)fc', ['fc', 'pre_fc'], ['pre_pre_fc']],
    ['*(ab)', ['ab', 'abab'], ['aba']],
    ['+(q|k)_proj', ['q_proj', 'qk_proj'], ['_proj', 'v_proj']],
    ['!(q|k)_proj', ['v_proj', 'qk_proj', '_proj'], ['q_proj', 'k_proj', 'v_proj.x']],
    ['*.!(bias|norm*)', ['a.weight', 'a.bias2', 'a.bias.b'], ['a.bias', 'normal', 'a']],
    ['!(!(a))', ['a'], ['b', 'aa']],
    ['!!a', ['a'], ['b']],
    ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'axb']],
    ['a/**', ['a', 'a/b', 'a/b/c'], ['ab']],
    ['./a', ['a'], ['./a/']],
    ['"a*"b', ['a*b'], ['axb']],
    ['@(a|b', ['@(a|b'], ['a']],
    ['{a,b', ['{a,b'], ['a']],
    ['@([)]|x)', [')', 'x'], ['y']],
    ['(a|b)c', ['ac', 'bc'], ['c']],
  ];
  for (const [pattern, matching, others] of cases) {
    t.deepEqual(requirePatterns('layers', pattern), [pattern]);
    for (const name of matching) t.true(matcher([pattern])(name), `${pattern} ${name}`);
    for (const name of others) t.false(matcher([pattern])(name), `${pattern} ${name}`);
  }
  t.false(matcher([])('a'));
});
