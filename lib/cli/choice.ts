import { Option } from 'commander';

/** An option that takes one of some words. */
export const choice = (flags: string, text: string, choices: readonly string[]) =>
  new Option(flags, text).choices(choices);
