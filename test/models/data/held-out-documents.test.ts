import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../../lib/index';
import { prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { divide, type Division } from '../../../lib/models/data/divide';
import { groupedByShape, type Piece } from '../../../lib/models/data/samples';
import { Turns } from '../../../lib/yielding';
import { checkpointSummary } from '../../../lib/reports/checkpoint-table';
import { cases, weightsIn, writeModel } from '../../decoders/tiny';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson } from './tokenizer';
import type { Warning } from '../../../lib/warning-codes';

// What is held out of texts: whole documents.

/** Documents of so many windows of `length` tokens, each with a last one of less. */
async function sourceOf(documents: readonly number[], length: number) {
  let place = 0;
  const pieces = documents.flatMap((windows, document) =>
    Array.from({ length: windows }, (_, i): Piece => {
      const tokens = i === windows - 1 ? 1 + (document % length) : length;
      const ids = BigInt64Array.from({ length: tokens }, (_, at) => BigInt(at));
      return {
        tensors: new Map([['input_ids', { data: ids, dims: [1, tokens], type: 'int64' }]]),
        samples: 1,
        window: { document, place: place++, tokens },
      };
    }),
  );
  return {
    ...{ kind: 'text' as const, asGiven: false, padding: null, inWindows: true },
    pieces: await groupedByShape(pieces, null, new Turns()),
  };
}

const piecesIn = (batches: Division['fit']) =>
  batches.flatMap(({ stretches }) => stretches.map(({ piece }) => piece.window!));

test('no window of a held-out document is fitted to, and each window is in one of both', async (t) => {
  const documents = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 30 });
  const shares = fc.double({ min: 0.01, max: 0.9, noNaN: true });
  await fc.assert(
    fc.asyncProperty(documents, fc.integer({ min: 1, max: 5 }), shares, async (list, length, share) => {
      const source = await sourceOf(list, length);
      const divided = async () => {
        const batching = { inputs: [], fixed: null, size: 4, warnings: [] as Warning[] };
        return { ...(await divide(source, share, batching, 'texts')), warnings: batching.warnings };
      };
      const { fit, holdout, warnings } = await divided();
      t.deepEqual(await divided(), { fit, holdout, warnings });
      const [fitted, held] = [piecesIn(fit), piecesIn(holdout)];
      t.is(new Set([...fitted, ...held].map(({ place }) => place)).size, source.pieces.length);
      t.is(fitted.length + held.length, source.pieces.length);
      t.true(fitted.length > 0);
      for (const { stretches } of [...fit, ...holdout])
        t.is(new Set(stretches.map(({ piece }) => piece.window!.tokens)).size, 1);
      if (list.length === 1) {
        const first = source.pieces.length - held.length;
        t.true(held.every(({ place }) => place >= first));
        t.regex(warnings.join('\n'), held.length === 0 ? /nothing is held out, because there is only 1 window/ : /its last \d+ of \d+ windows are held out, because there is only 1 document/); // prettier-ignore
        return;
      }
      const heldDocuments = new Set(held.map(({ document }) => document));
      t.true(fitted.every(({ document }) => !heldDocuments.has(document)));
      t.is(heldDocuments.size, Math.max(1, Math.min(list.length - 1, Math.round(list.length * share))));
    }),
    { numRuns: 60 },
  );
});

test('documents of every length are held out, and it is told where that is much', async (t) => {
  const source = await sourceOf(Array.from({ length: 100 }, (_, i) => 1 + ((i * 37) % 50)), 8); // prettier-ignore
  const batching = { inputs: [], fixed: null, size: 4, warnings: [] as Warning[] };
  const { holdout } = await divide(source, 0.1, batching, 'texts');
  const held = piecesIn(holdout);
  const windows = new Map<number, number>();
  for (const { document } of held) windows.set(document, (windows.get(document) ?? 0) + 1);
  t.deepEqual([...windows.values()].sort((a, b) => a - b), [3, 8, 13, 18, 23, 28, 33, 38, 43, 48]); // prettier-ignore
  t.deepEqual(batching.warnings, []);
  await divide(await sourceOf([5, 5], 8), 0.1, batching, 'texts');
  t.regex(batching.warnings.join(), /texts: as many as \d+ of \d+ tokens are held out, because documents are held out whole, and there are only 2/); // prettier-ignore
});

test('batches of a size that the network fixes have no document of both', async (t) => {
  const source = await sourceOf(Array.from({ length: 30 }, () => 6), 1); // prettier-ignore
  const batching = { inputs: [], fixed: 4, size: 4, warnings: [] as Warning[] };
  const { fit, holdout } = await divide(source, 0.1, batching, 'texts');
  t.true([...fit, ...holdout].every(({ samples }) => samples === 4));
  const held = new Set(piecesIn(holdout).map(({ document }) => document));
  t.is(held.size, 3);
  t.true(piecesIn(fit).every(({ document }) => !held.has(document)));
  t.regex(batching.warnings.join(), /2 of 18 samples left out, because the network takes 4 at once/);
  const few = { ...batching, fixed: 16, size: 16, warnings: [] as Warning[] };
  t.deepEqual((await divide(await sourceOf([20, 5], 1), 0.1, few, 'texts')).holdout, []);
  t.regex(few.warnings.join(), /nothing is held out, because the network takes 16 windows at once/);
});

/** A tiny language model with a tokenizer, and texts of so many words. */
function model(t: ExecutionContext, lengths: readonly number[]) {
  const root = temporaryFolder(t);
  const [folder, texts] = [join(root, 'model'), join(root, 'texts.txt')];
  mkdirSync(folder);
  const golden = cases.find(({ name }) => name === 'llama')!;
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson({ post_processor: null })));
  const words = ['a', 'b', 'c', 'd', 'the', 'cat'];
  const text = (length: number, seed: number) =>
    Array.from({ length }, (_, i) => words[(i * i + seed) % 6]!).join(' ');
  writeFileSync(texts, lengths.map(text).join('\n'));
  return { folder, texts, output: join(root, 'out') };
}

test('the report says how many documents, windows and tokens were fitted to and held out', async (t) => {
  const { folder, texts, output } = model(t, [20, 7, 33, 12, 5]);
  const report = await quantizeCheckpoint(folder, output, {
    ...{ calibration: texts, sequenceLength: 10, holdout: 0.2, method: 'gptq', bits: 4, groupSize: 16 },
  });
  t.deepEqual(report.calibration, {
    fit: { documents: 4, samples: 8, tokens: 65 },
    holdout: { documents: 1, samples: 2, tokens: 12 },
  });
  t.true(report.layers.every(({ samples }) => samples === 65));
  const summary = checkpointSummary(report, { color: false });
  t.regex(summary, /^fitted to 4 documents, 8 windows, 65 tokens; held out: 1 document, 2 windows, 12 tokens$/m); // prettier-ignore
});

test('few tokens for the widest layer are told before the work', async (t) => {
  const { folder, texts, output } = model(t, [30]);
  const report = await quantizeCheckpoint(folder, output, {
    ...{ calibration: texts, sequenceLength: 10, method: 'gptq', bits: 4, groupSize: 16 },
  });
  t.deepEqual(report.calibration!.holdout, { documents: 1, samples: 1, tokens: 10 });
  const warnings = report.warnings.join('\n');
  t.regex(warnings, /its last 1 of 3 windows are held out, because there is only 1 document/);
  t.regex(warnings, /Only 20 tokens to fit to, and layers have up to \d+ inputs: .* Give \d+ tokens or more/);
});

test('documents and tokens of other data are told as far as they are known', async (t) => {
  const { texts, folder } = model(t, [2, 3, 4]);
  const named = (...names: string[]) => names.map((name) => ({ name, type: 'int64', dims: ['batch', 'n'] }));
  const texted = await prepareCalibrationSet(texts, {
    ...{ inputs: named('input_ids', 'attention_mask'), tokenizer: folder, holdout: 0 },
  });
  t.deepEqual(texted.counts.fit, { documents: 3, samples: 3, tokens: 9 });
  const ids = { data: new BigInt64Array(12), dims: [4, 3] };
  const fed = await prepareCalibrationSet({ input_ids: ids }, { inputs: named('input_ids'), holdout: 0.25 });
  t.deepEqual(fed.counts, {
    fit: { documents: null, samples: 3, tokens: 9 },
    holdout: { documents: null, samples: 1, tokens: 3 },
  });
  const masked = await prepareCalibrationSet({ input_ids: ids, attention_mask: ids }, { inputs: named('input_ids', 'attention_mask'), holdout: 0 }); // prettier-ignore
  t.is(masked.counts.fit.tokens, null);
});
