import type * as OpenTelemetry from '@opentelemetry/api';
import { VertexqError } from './errors';
import { optionalPackage } from './optional-package';
import { version } from './version';

/** What a span says of its work. Names begin with `vertexq.`; undefined ones are left out. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

let api: typeof OpenTelemetry | null | undefined;

/** The API's package, where it is installed beside vertexq: who traces has it. */
function loaded(): typeof OpenTelemetry | null {
  if (api !== undefined) return api;
  try {
    api = optionalPackage('@opentelemetry/api', 'ERR_VERTEXQ_RUNTIME', 'Tracing') as typeof OpenTelemetry;
  } catch {
    api = null;
  }
  return api;
}

/**
 * What `work` gives, as a span of OpenTelemetry within the one that is active, where its API is installed and a provider is registered; else the work alone. A failure is the span's status, with the
 * error's code as `error.type`; `results`: what is known of it at the end.
 */
export async function span<Result>(
  name: string,
  attributes: SpanAttributes,
  work: () => Promise<Result>,
  results: (result: Result) => SpanAttributes = () => ({}),
): Promise<Result> {
  const known = loaded();
  if (known === null) return work();
  return known.trace.getTracer('vertexq', version).startActiveSpan(name, { attributes }, async (own) => {
    try {
      const result = await work();
      own.setAttributes(results(result));
      return result;
    } catch (error) {
      const { message, name: type } = error instanceof Error ? error : new Error(String(error));
      own.setStatus({ code: known.SpanStatusCode.ERROR, message });
      own.setAttribute('error.type', error instanceof VertexqError ? error.code : type);
      throw error;
    } finally {
      own.end();
    }
  });
}

/** What a run's span says of its result. */
export const spanResults = ({
  format,
  layers,
  bytes,
}: {
  format: string;
  layers: readonly unknown[];
  bytes: { before: number; after: number };
}): SpanAttributes => ({
  ...{ 'vertexq.format': format, 'vertexq.layers': layers.length },
  ...{ 'vertexq.bytes.before': bytes.before, 'vertexq.bytes.after': bytes.after },
});
