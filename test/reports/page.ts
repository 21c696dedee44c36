import { parse } from 'parse5';

/** What is used of parse5's tree. */
export interface Element {
  tagName: string;
  attrs: { name: string; value: string }[];
  childNodes: Node[];
}
type Node = Element | { nodeName: string; value?: string };

const isElement = (node: Node): node is Element => 'tagName' in node;

/** A document as browsers read it. */
export const page = (text: string): Element => parse(text) as Element;

/** The elements within one, of a tag or all, in the order of the document. */
export function all(root: Element, tag?: string): Element[] {
  return (root.childNodes ?? []).flatMap((node) => {
    if (!isElement(node)) return [];
    return [...(tag === undefined || node.tagName === tag ? [node] : []), ...all(node, tag)];
  });
}

export const attribute = ({ attrs }: Element, name: string): string | null =>
  attrs.find((own) => own.name === name)?.value ?? null;

export function textOf(root: Element): string {
  return (root.childNodes ?? [])
    .map((node) => (isElement(node) ? textOf(node) : node.nodeName === '#text' ? node.value! : ''))
    .join('');
}
