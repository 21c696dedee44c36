import { dirname, join } from 'node:path';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { calibrationError } from './tensor-checks';
import { configName, isFields, readJsonIn, readTextIn } from './tokenizer';

// Transcripts of chats as the text that a model is trained on, by the template that its folder has for them.

/** What the text of a transcript is made by. Throws ERR_VERTEXQ_CALIBRATION, with `where`, at what the template does not take. */
export type ChatTemplate = (line: Readonly<Record<string, unknown>>, where: string) => string;

export const templateName = 'chat_template.jinja';

type Render = (given: Record<string, unknown>, where: string) => string;

/** What of the jinja library is used. Its own types do not resolve from CommonJS. */
interface Jinja {
  Environment: new () => { set(name: string, value: unknown): unknown };
  Interpreter: new (environment: object) => { run(program: object): { value: unknown } };
  parse: (tokens: object) => object;
  tokenize: (template: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }) => object;
}

/** Templates that ask for the date always have this one: the same data is to give the same bytes tomorrow. */
const day: Record<string, string> = {
  ...{ Y: '2026', y: '26', m: '01', B: 'January', b: 'Jan', d: '01', e: ' 1', j: '001' },
  ...{ A: 'Thursday', a: 'Thu', H: '00', I: '12', M: '00', S: '00', p: 'AM' },
};
const globals: Record<string, unknown> = {
  ...{ true: true, True: true, false: false, False: false, none: null, None: null },
  strftime_now: (format: unknown) =>
    String(format).replace(/%-?([a-z])/gi, (all, letter: string) => day[letter] ?? all),
  raise_exception(message: unknown) {
    throw new Error(String(message));
  },
  range(first: number, last?: number, step = 1) {
    const [from, to] = last === undefined ? [0, first] : [first, last];
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
};

/**
 * The chat template beside a tokenizer.json: `chat_template.jinja`, else `chat_template` of tokenizer_config.json, a text or a list of named
 * ones. Rejects with ERR_VERTEXQ_TOKENIZER where it cannot be used; with `where`, ERR_VERTEXQ_CALIBRATION where there is none.
 */
export async function loadChatTemplate(tokenizer: string, where: string): Promise<ChatTemplate> {
  const folder = dirname(tokenizer);
  const config = (await readJsonIn(folder, configName)) ?? {};
  const sources = await sourcesOf(folder, config, join(folder, configName));
  const names = [...sources.keys()];
  // Of named ones that which is for transcripts without tools.
  const source = sources.get('default') ?? (names.length === 1 ? sources.get(names[0]!) : undefined);
  if (!source)
    throw calibrationError(
      where,
      `has "messages", which need a chat template, and ${folder} has ${
        names.length > 0 ? `only those called ${names.map(describe).join(', ')}` : 'none'
      }: neither chat_template.jinja nor "chat_template" in tokenizer_config.json. Give such a file, or {"text": …} lines`,
    );
  // Only those who have transcripts pay for it.
  const { Environment, Interpreter, parse, tokenize } =
    (await import('@huggingface/jinja')) as unknown as Jinja;
  const compile = ({ text, path }: Source): Render => {
    try {
      // What goes with a tag's line is no part of the text: as transformers reads templates.
      const program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
      return (given, where) => {
        const environment = new Environment();
        for (const [name, value] of Object.entries(given)) environment.set(name, value);
        try {
          return String(new Interpreter(environment).run(program).value);
        } catch (cause) {
          throw new VertexqError(
            'ERR_VERTEXQ_CALIBRATION',
            `${where}: ${path} does not take it: ${(cause as Error).message}`,
            { cause },
          );
        }
      };
    } catch (cause) {
      throw new VertexqError('ERR_VERTEXQ_TOKENIZER', `${path} cannot be used: ${(cause as Error).message}`, {
        cause,
      });
    }
  };
  const render = compile(source);
  const withTools = sources.get('tool_use');
  const renderTools = withTools ? compile(withTools) : render;
  const special = specialTokens(config);
  return (line, where) => {
    const tools = Array.isArray(line['tools']) ? line['tools'] : null;
    const given = {
      ...{ ...special, ...globals },
      ...{ messages: messagesOf(line['messages'], where), tools, add_generation_prompt: false },
    };
    return (tools ? renderTools : render)(given, where);
  };
}

interface Source {
  text: string;
  /** How messages call it. */
  path: string;
}

async function sourcesOf(
  folder: string,
  { chat_template: inConfig }: Readonly<Record<string, unknown>>,
  configPath: string,
): Promise<Map<string, Source>> {
  const text = await readTextIn(folder, templateName);
  if (text !== undefined) return new Map([['default', { text, path: join(folder, templateName) }]]);
  const named: unknown[] = Array.isArray(inConfig)
    ? inConfig
    : inConfig === undefined || inConfig === null
      ? []
      : [{ name: 'default', template: inConfig }];
  return new Map(
    named.map((item) => {
      const { name, template } = isFields(item) ? item : {};
      if (typeof name === 'string' && typeof template === 'string')
        return [name, { text: template, path: `${configPath}: the chat template ${describe(name)}` }];
      throw new VertexqError(
        'ERR_VERTEXQ_TOKENIZER',
        `${configPath}: "chat_template" should be a text, or a list of {"name", "template"}, not ${describe(template ?? item)}`,
      );
    }),
  );
}

/** bos_token and the like, as templates ask for them. */
function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config).flatMap(([name, value]) => {
      const token = isFields(value) ? value['content'] : value;
      return name.endsWith('_token') && typeof token === 'string' ? [[name, token]] : [];
    }),
  );
}

function messagesOf(value: unknown, where: string): readonly unknown[] {
  const expected = '"messages" should be a list of {"role": "…", "content": "…"}';
  if (!Array.isArray(value) || value.length === 0)
    throw calibrationError(where, `${expected}, not ${Array.isArray(value) ? 'empty' : describe(value)}`);
  for (const [i, message] of (value as unknown[]).entries()) {
    if (!isFields(message))
      throw calibrationError(where, `${expected}, and that at ${i} is ${describe(message)}`);
    const { role, content = null } = message;
    if (typeof role !== 'string')
      throw calibrationError(where, `the "role" of message ${i} should be a text, not ${describe(role)}`);
    // Calls of tools have none; parts may be texts and others.
    if (
      typeof content !== 'string' &&
      content !== null &&
      !(Array.isArray(content) && content.every(isFields))
    )
      throw calibrationError(
        where,
        `the "content" of message ${i} should be a text, not ${describe(content)}`,
      );
  }
  return value as unknown[];
}
