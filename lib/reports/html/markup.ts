import { visible } from '../text';

/** Text that is HTML already. Only `html` and `raw` make it, so that what comes from files is always escaped. */
export class Markup {
  constructor(readonly text: string) {}
}

/** What a template takes: text is escaped, markup stands as it is, of lists each, and nothing of what is absent. */
export type Content = Markup | string | number | null | undefined | false | readonly Content[];

/** HTML with contents: html`<p>${name}</p>`. Lines of the template are set in as the code is; of that one line break is left. */
export function html(parts: TemplateStringsArray, ...contents: Content[]): Markup {
  return new Markup(
    parts.reduce(
      (text, part, i) => `${text}${i > 0 ? rendered(contents[i - 1]) : ''}${part.replace(/\s*\n\s*/g, '\n')}`,
      '',
    ),
  );
}

/** Text of this package's own that is HTML. */
export const raw = (text: string): Markup => new Markup(text);

function rendered(content: Content): string {
  if (content === null || content === undefined || content === false) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'object') return content.map(rendered).join('');
  return escaped(String(content));
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for HTML and SVG, in elements and in quoted attributes; control characters are made visible, as in tables. */
export function escaped(text: string): string {
  return visible(text)
    .replace(/[\p{Cs}\ufdd0-\ufdef\ufffe\uffff]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => entities[character]!);
}
