// The tables of docs/language.md, of the runs there are so far.
import { markdownTable } from '../document';
import type { Result } from './measure';
import { type MethodName, methods, settings } from './plan';

const number = (value: number): string => value.toLocaleString('en');

/** One for each setting that there are runs of; methods in the plan's order. */
export function tablesOf(runs: readonly Result[]): Record<string, string> {
  const parts = settings.flatMap(({ bits, groupSize }) => {
    const own = runs.filter((run) => run.bits === bits && run.groupSize === groupSize);
    if (own.length === 0) return [];
    const { perplexity, judgedTokens, documents } = own[0]!;
    const lines = (Object.keys(methods) as MethodName[]).flatMap((method) =>
      own.filter((run) => run.method === method).map(lineOf),
    );
    return [
      `### ${bits} bits, groups of ${groupSize}`,
      `Judged by ${number(judgedTokens)} tokens of ${documents} documents; perplexity of the float network: ${perplexity.float.toFixed(2)}.`,
      markdownTable(
        [
          '',
          'tokens',
          'perplexity',
          'KL',
          '99.9 %',
          'same next',
          'seconds',
          'of fits',
          'CPU seconds',
          'peak, MiB',
        ],
        lines,
      ),
    ];
  });
  return { results: parts.join('\n\n') };
}

function lineOf({ method, tokens, perplexity, kl, sameNextToken, ...run }: Result): string[] {
  const error = kl.standardError === null ? '' : ` ± ${kl.standardError.toFixed(4)}`;
  return [
    method,
    number(tokens),
    perplexity.quantized.toFixed(2),
    `${kl.mean.toFixed(4)}${error}`,
    kl.p999.toFixed(2),
    `${(100 * sameNextToken).toFixed(1)} %`,
    ...[run.seconds, run.fitSeconds, run.cpu, run.rss / 2 ** 20].map((value) => value.toFixed(0)),
  ];
}
