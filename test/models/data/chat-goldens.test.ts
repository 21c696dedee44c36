import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadChatTemplate } from '../../../lib/models/data/chat-template';
import { readWindows } from '../../../lib/models/data/text';
import { temporaryFolder } from '../../files/temporary-folder';

/** What transformers makes of transcripts (bench/language/chat_goldens.py). */
interface Goldens {
  special: Record<string, string>;
  tokenizer: object;
  cases: {
    name: string;
    template: string;
    transcripts: { line: Record<string, unknown>; text: string; ids: number[] }[];
  }[];
}

const goldens = JSON.parse(readFileSync(join(__dirname, 'chat-goldens.json'), 'utf8')) as Goldens;

for (const { name, template, transcripts } of goldens.cases)
  test(`transcripts become the tokens that transformers makes of them: ${name}`, async (t) => {
    const folder = temporaryFolder(t);
    const tokenizer = join(folder, 'tokenizer.json');
    writeFileSync(tokenizer, JSON.stringify(goldens.tokenizer));
    const config = { ...goldens.special, chat_template: template };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    const render = await loadChatTemplate(tokenizer, 'the data');
    for (const { line, text } of transcripts) t.is(render(line, 'the data'), text);
    const path = join(folder, 'chats.jsonl');
    writeFileSync(path, transcripts.map(({ line }) => `${JSON.stringify(line)}\n`).join(''));
    const { windows } = await readWindows([path], { tokenizer: folder, sequenceLength: 2048 });
    t.deepEqual(
      windows.map(({ ids }) => [...ids]),
      transcripts.map(({ ids }) => ids),
    );
  });
