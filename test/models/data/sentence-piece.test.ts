import { fromBinary, toBinary } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSentencePieces } from '../../../lib/models/data/sentence-piece/read';
import {
  type SentencePieceModel,
  SentencePieceModelSchema,
} from '../../../lib/models/data/sentence-piece/sentence_piece_pb';
import { loadTokenizer } from '../../../lib/models/data/tokenizer';
import { mulberry32 } from '../../../scripts/models/trainer/random';
import { temporaryFolder } from '../../files/temporary-folder';

interface Golden {
  model: string;
  texts?: { text: string; ids: number[] }[];
  ids?: Record<'bos' | 'eos' | 'unk' | 'pad', number>;
}

// By bench/language/sentence_piece_goldens.py: models that the sentencepiece library trained, and its tokens.
const goldens = JSON.parse(readFileSync(join(__dirname, 'sentence-piece-goldens.json'), 'utf8')) as Record<
  string,
  Golden
>;
const bytesOf = (name: string) => Buffer.from(goldens[name]!.model, 'base64');

/** A folder with a tokenizer.model, and what else. */
function folderOf(t: ExecutionContext, model: Uint8Array, files: Record<string, unknown> = {}): string {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeFileSync(join(folder, 'tokenizer.model'), model);
  for (const [name, value] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(value));
  return folder;
}

for (const name of ['prefix', 'plain'])
  test(`${name}: a tokenizer.model gives the tokens that the sentencepiece library gives`, async (t) => {
    const folder = folderOf(t, bytesOf(name));
    const tokenizer = await loadTokenizer(folder, 200);
    const { texts, ids } = goldens[name]!;
    t.true(texts!.length > 6);
    // What begins a text is for those who use the library to add.
    for (const { text, ids } of texts!) t.deepEqual(tokenizer.encode(text, false), ids, JSON.stringify(text));
    t.deepEqual(tokenizer.encode(texts![0]!.text), [ids!.bos, ...texts![0]!.ids]);
    const read = await readSentencePieces(join(folder, 'tokenizer.model'));
    const own = (id: number) => (id < 0 ? null : id);
    t.deepEqual(read.ids, { bos: own(ids!.bos), eos: own(ids!.eos), unk: own(ids!.unk), pad: own(ids!.pad) });
    t.is(read.prefix, name === 'prefix');
  });

test('files beside it add tokens and say what begins and ends texts', async (t) => {
  const { texts } = goldens['prefix']!;
  const [{ text, ids }] = texts as [{ text: string; ids: number[] }];
  const config = {
    ...{ add_bos_token: false, add_eos_token: true, eos_token: '<|end|>' },
    added_tokens_decoder: { 380: { content: '<|end|>', special: true } },
  };
  const folder = folderOf(t, bytesOf('prefix'), {
    'tokenizer_config.json': config,
    'added_tokens.json': { '<|end|>': 380, '<|extra|>': 381 },
  });
  const tokenizer = await loadTokenizer(folder, 200);
  t.deepEqual(tokenizer.encode(text), [...ids, 380]);
  t.deepEqual(tokenizer.encode('<|extra|>', false), [381]);
  const other = folderOf(t, bytesOf('prefix'), { 'added_tokens.json': { '<|end|>': 5 } });
  await t.throwsAsync(loadTokenizer(other, 200), {
    code: 'ERR_VERTEXQ_TOKENIZER',
    message: /tokenizer\.model: token 5 is .*, and "<\|end\|>" in the files beside it/,
  });
});

test('other kinds, and broken models, are refused with what is wrong', async (t) => {
  const path = join(temporaryFolder(t), 'tokenizer.model');
  const refused = async (bytes: Uint8Array, message: RegExp) => {
    writeFileSync(path, bytes);
    await t.throwsAsync(readSentencePieces(path), { code: 'ERR_VERTEXQ_TOKENIZER', message });
  };
  const changed = (change: (model: SentencePieceModel) => void) => {
    const model = fromBinary(SentencePieceModelSchema, bytesOf('prefix'));
    change(model);
    return toBinary(SentencePieceModelSchema, model);
  };
  await refused(
    bytesOf('unigram'),
    /type "unigram", not "bpe", which is not known here: give a tokenizer\.json/,
  );
  await refused(bytesOf('spaces'), /takes away spaces beside spaces/);
  await refused(
    changed((model) => (model.normalizerSpec!.precompiledCharsmap = Uint8Array.of(1))),
    /changes characters before it splits texts/,
  );
  await refused(bytesOf('no-bytes'), /has 0 pieces for the 256 bytes/);
  await refused(new Uint8Array(), /is no SentencePiece model: it has no pieces/);
  await refused(Buffer.from('{"model": {}}'), /is no SentencePiece model/);
  await refused(bytesOf('prefix').subarray(0, 500), /is no SentencePiece model|has \d+ pieces for/);
  await refused(
    changed((model) => (model.pieces[300]!.score = NaN)),
    /piece 300, .* with the score NaN/,
  );
  await refused(
    changed((model) => (model.pieces[300]!.piece = '')),
    /piece 300, "", of 0 characters/,
  );
  await refused(
    changed((model) => (model.pieces[300]!.piece = 'x'.repeat(257))),
    /of 257 characters/,
  );
  await refused(
    changed((model) => (model.pieces[300]!.piece = model.pieces[299]!.piece)),
    /piece 300, .* twice/,
  );
  await refused(
    changed((model) => (model.pieces[300]!.type = 9)),
    /piece 300, .* of type 9: expected 1 to 6/,
  );
  await refused(
    changed((model) => (model.trainerSpec!.bosId = 1000)),
    /beginning of texts is piece 1000, and has 380/,
  );
  // Two bytes a piece: no object for each of them.
  const many = Buffer.alloc(2 * 2 ** 20 + 2, Buffer.of(0x0a, 0x00));
  await refused(many, /has more than 1048576 pieces/);
});

test('mutated models are read, or refused by name', async (t) => {
  const path = join(temporaryFolder(t), 'tokenizer.model');
  const uniform = mulberry32(7);
  const whole = bytesOf('prefix');
  let refused = 0;
  for (let i = 0; i < 300; i++) {
    const bytes = Buffer.from(whole);
    for (let k = 0; k <= i % 4; k++)
      bytes[Math.floor(uniform() * bytes.length)] = Math.floor(256 * uniform());
    writeFileSync(path, i % 3 === 0 ? bytes.subarray(0, Math.floor(uniform() * bytes.length)) : bytes);
    const found = await readSentencePieces(path).catch((error: unknown) => error);
    if (!(found instanceof Error)) continue;
    refused++;
    t.is((found as Error & { code: string }).code, 'ERR_VERTEXQ_TOKENIZER', found.stack);
  }
  t.true(refused > 100);
});
