import test from 'ava';
import { helpText, helpWidth } from '../../lib/cli/help-text';
import { runFake } from './fake';

const commands =
  'quantize compare eval inspect sensitivity tune calibrate verify plan work finish submit worker status serve cancel explain doctor'.split(
    ' ',
  );

test('ux S4: no line of help is longer than 100 columns', async (t) => {
  for (const args of [[], ...commands.map((name) => [name])]) {
    const { stdout, code } = await runFake([...args, '--help']);
    t.is(code, 0);
    const long = stdout.split('\n').filter((line) => line.length > helpWidth);
    t.deepEqual(long, [], args.join());
  }
});

test('ux S4: all commands have their help looked at', async (t) => {
  const { stdout } = await runFake(['--help']);
  const listed = [
    ...stdout
      .split('\nCommands:\n')[1]!
      .split('\n\n')[0]!
      .matchAll(/^ {2}(\w+)/gm),
  ];
  t.deepEqual(listed.map(([, name]) => name).filter((name) => name !== 'help').sort(), [...commands].sort()); // prettier-ignore
});

test('lines of help are filled: prose, tables, commands with their remarks', (t) => {
  t.is(helpText('  one two three four', 12), '  one two\n  three four');
  t.is(helpText('  term  one two three', 14), '  term  one\n        two\n        three');
  t.is(
    helpText('  $ vertexq eval a b --data c --json   all of it', 26),
    '    # all of it\n  $ vertexq eval a b \\\n      --data c --json',
  );
  const long = 'a word and another '.repeat(5).trim();
  t.is(helpText(`  ${long}\n  end`), `  ${long} end`);
  const [term, rest] = helpText(`  term  ${long}\n        end`).split('\n');
  t.true(term!.length <= helpWidth && term!.length > helpWidth - 8);
  t.is(`${term} ${rest!.trim()}`, `  term  ${long} end`);
  t.regex(rest!, /^ {8}\S/);
  t.true(helpText(`  one  ${long}\n  two  b`).endsWith('another\n  two  b'));
  t.is(helpText('short\nlines'), 'short\nlines');
});
