import test from 'ava';
import fc from 'fast-check';
import { escaped, matcher } from '../../lib/globs';
import { type ChosenWidths, chooseWidths } from '../../lib/sensitivity/choose';
import { readSensitivity } from '../../lib/sensitivity/store';
import type { SensitiveLayer } from '../../lib/sensitivity/types';
import { layer, sampleSensitivity } from './sample';

/** Files with a header, in which each layer is filled up to a multiple of 32 bytes. */
const sizeIn = (layers: readonly SensitiveLayer[]) => (overrides: readonly ChosenWidths[]) => {
  let bytes = 100;
  for (const { name, widths } of layers) {
    const own = overrides.find((override) => matcher(override.layers)(name));
    bytes += Math.ceil(widths.find(({ bits }) => bits === own?.bits)!.bytes / 32) * 32;
  }
  return Promise.resolve(bytes);
};

test('a target is met within the room that widths leave, never above; layers of a group get one width', async (t) => {
  const layers = [
    ...[layer('a', 64, 3), layer('q', 48, 1, 'qkv'), layer('k', 20, 9, 'qkv'), layer('v', 20, 2, 'qkv')],
    ...[layer('odd[0]*', 52, 30), layer('b', 64, 0.1)],
  ];
  const sizeOf = sizeIn(layers);
  let before = Infinity;
  for (let bytes = 3700; bytes <= 13_500; bytes += 400) {
    const { report, warnings } = await chooseWidths(
      sampleSensitivity(layers),
      { bytes, of: 'files' },
      sizeOf,
      undefined,
    );
    t.true(report.bytes <= bytes);
    t.is(report.bytes, await sizeOf(report.overrides));
    t.is(warnings.length, report.bytes < 0.99 * bytes ? 1 : 0);
    t.true(report.change <= before && report.gap >= 0);
    before = report.change;
    const widthOf = (name: string) => report.overrides.find((own) => matcher(own.layers)(name))!.bits;
    t.is(new Set(['q', 'k', 'v'].map(widthOf)).size, 1);
    t.is(report.overrides.flatMap((own) => own.layers).length, layers.length);
  }
  const { warnings } = await chooseWidths(
    sampleSensitivity(layers),
    { bytes: 10 ** 6, of: 'files' },
    sizeOf,
    undefined,
  );
  t.regex(warnings[0]!, /every layer has the width that changes the outputs least/);
});

test('issue 21 item 3: the fewest bytes that keep to a change, as trying all choices finds them', async (t) => {
  const changeOf = (layers: readonly SensitiveLayer[], choice: readonly number[]) =>
    layers.reduce((sum, { widths }, i) => sum + widths[choice[i]!]!.change, 0);
  const bytesOf = (layers: readonly SensitiveLayer[], choice: readonly number[]) =>
    layers.reduce((sum, { widths }, i) => sum + widths[choice[i]!]!.bytes, 0);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.double({ min: 0.01, max: 50, noNaN: true })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (sizes, share) => {
        const layers = sizes.map(([size, weight], i) => layer(`l${i}`, 4 * size, weight));
        let choices: number[][] = [[]];
        for (const { widths } of layers)
          choices = choices.flatMap((choice) => widths.map((_, i) => [...choice, i]));
        const changes = choices.map((choice) => changeOf(layers, choice));
        const [least, most] = [Math.min(...changes), Math.max(...changes)];
        const change = least + share * (most - least) + 1e-9;
        const { report, warnings } = await chooseWidths(
          sampleSensitivity(layers),
          { change, of: 'files' },
          sizeIn(layers),
          undefined,
        );
        const fewest = Math.min(
          ...choices.filter((_, i) => changes[i]! <= change).map((choice) => bytesOf(layers, choice)),
        );
        const own = layers.map(({ name, widths }) => {
          const { bits } = report.overrides.find((one) => matcher(one.layers)(name))!;
          return widths.findIndex((width) => width.bits === bits);
        });
        t.is(bytesOf(layers, own), fewest);
        t.true(report.change <= change);
        t.is(report.change, changeOf(layers, own));
        t.is(report.bytes, await sizeIn(layers)(report.overrides));
        t.deepEqual(report.target, { change, of: 'files', bytes: report.bytes });
        t.deepEqual(warnings, []);
      },
    ),
    { numRuns: 60 },
  );
});

test('issue 21 item 3: a change that no width keeps to tells the least that one does', async (t) => {
  const layers = [layer('a', 64, 3), layer('b', 64, 1)];
  const least = 4 * 4 ** -8;
  await t.throwsAsync(
    chooseWidths(sampleSensitivity(layers), { change: least / 2, of: 'files' }, sizeIn(layers), undefined),
    {
      code: 'ERR_VERTEXQ_BUDGET',
      message: new RegExp(`changes them least it is ${least} \\(kl, estimated, 2 layers`),
    },
  );
});

test('a target that is out of reach tells the smallest that is not', async (t) => {
  const layers = [layer('a', 64, 3)];
  await t.throwsAsync(
    chooseWidths(sampleSensitivity(layers), { bytes: 1000, of: 'files' }, sizeIn(layers), undefined),
    {
      code: 'ERR_VERTEXQ_BUDGET',
      message: /as small as 1000 bytes .* files take 1124 bytes \(1.12 kB\), 1024 bytes/,
    },
  );
});

test('an escaped name is a glob that matches it alone', (t) => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'ab/.*?[]{}()!@+|,\\"-^'), minLength: 1, maxLength: 8 }),
      fc.string({ unit: fc.constantFrom(...'ab/.*?[]{}()!@+|,\\"-^'), minLength: 1, maxLength: 8 }),
      (name, other) => {
        const matches = matcher([escaped(name)]);
        return matches(name) && (other === name || !matches(other));
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});

test('what is no sensitivity is refused with the place', async (t) => {
  const good = sampleSensitivity([layer('a', 8, 1)]);
  t.deepEqual(await readSensitivity(good), good);
  const cases: [change: object, message: RegExp][] = [
    [{ schema: 2 }, /"schema" to be 1, not 2/],
    [{ unit: 'x' }, /"unit" to be "kl" or "squared-error"/],
    [{ layers: {} }, /"layers" to be a list/],
    [{ layers: [null] }, /layers\[0\] to be an object/],
    [{ layers: [...good.layers, ...good.layers] }, /layers\[1\].name to be a name of its own, not "a"/],
    [{ layers: [{ ...good.layers[0], widths: [] }] }, /layers\[0\].widths to be a list of one or more/],
    [{ layers: [{ ...good.layers[0], widths: [{ bits: 9, bytes: 1, change: 0 }] }] }, /bits to be a whole number from 1 to 8, not 9/],
    [{ layers: [{ ...good.layers[0], widths: [{ bits: 2, bytes: 1, change: -1 }] }] }, /change to be a number from 0, not -1/],
    [{ layers: [{ ...good.layers[0], widths: [{ bits: 2, bytes: -1, change: 1 }] }] }, /bytes to be a whole number from 0/],
    [{ layers: [{ ...good.layers[0], widths: [{ bytes: 1, change: 1 }] }] }, /some bits, or a block type/],
  ]; // prettier-ignore
  for (const [change, message] of cases)
    await t.throwsAsync(readSensitivity({ ...good, ...change }), { code: 'ERR_VERTEXQ_SENSITIVITY', message }); // prettier-ignore
});
