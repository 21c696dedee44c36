// This version of parse5 has no types of its own.

declare module 'parse5' {
  export function parse(html: string): unknown;
}
