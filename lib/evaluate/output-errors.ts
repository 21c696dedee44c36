import type { TensorLike } from '../types';
import { convert } from '../native/tensors';
import { inParts } from '../yielding';
import type { OutputAxis } from './output-axis';
import { type FloatData, isFloat, RowErrors, rowsOf } from './row-errors';
import type { OutputEvaluation } from './types';
import { warn, type Warning } from '../warning-codes';

/** Whether an output is called what features are: which of their entries is the largest says nothing. */
const isOfFeatures = (name: string) => /embed|hidden|pooler|feature|latent/i.test(name);

/** Adds up how far one output of the quantized network is from that of the float network. Memory: a row. */
export class OutputErrors {
  isFloat = true;
  /** Runs in which the quantized network's output had another shape or type. */
  otherShape = 0;
  private readonly equal = { elements: 0, of: 0 };
  private type = 'unknown';

  /** Several outputs may add to the same `errors`. */
  constructor(
    private readonly name: string,
    private readonly axisOf: OutputAxis = () => null,
    private readonly errors = new RowErrors(),
  ) {}

  /** Adds what the two networks gave for one feed, of so many samples. */
  async add(float: TensorLike, quantized: TensorLike | undefined, samples = 1): Promise<void> {
    this.type = float.type ?? this.type;
    const wanted = await floatsOf(float);
    const got = quantized && (await floatsOf(quantized));
    this.isFloat = wanted !== null;
    if (!quantized || quantized.dims.join() !== float.dims.join() || (wanted === null) !== (got === null)) {
      this.otherShape++;
    } else if (wanted && got) {
      await this.errors.add(wanted, got, rowsOf(float.dims, this.axisOf(float.dims, samples)));
    } else {
      const [a, b] = [float.data as ArrayLike<unknown>, quantized.data as ArrayLike<unknown>];
      await inParts(a.length, (begin, end) => {
        for (let i = begin; i < end; i++) if (a[i] === b[i]) this.equal.elements++;
      });
      this.equal.of += a.length;
    }
  }

  result(): OutputEvaluation {
    const { name, type, otherShape, errors, equal } = this;
    const { rows, relative, cosine, largest, notFinite, ranked } = errors;
    const common = { name, type, rows, otherShape, notFinite };
    if (!this.isFloat)
      return {
        ...common,
        cosine: null,
        error: null,
        sqnrDb: null,
        maxError: null,
        agreement: share(equal.elements, equal.of),
      };
    return {
      ...common,
      cosine,
      error: rows === 0 ? null : relative,
      sqnrDb: rows === 0 || relative === 0 || !Number.isFinite(relative) ? null : -20 * Math.log10(relative),
      maxError: rows === 0 ? null : largest,
      agreement: isOfFeatures(name) ? null : share(ranked.agreeing, ranked.rows),
    };
  }

  /** What a reader of the numbers should know. `found`: what the data has that is not finite. */
  warnings(found: string | null = null): Warning[] {
    const { notFinite, rows } = this.errors;
    const where = (['float', 'quantized'] as const).filter((which) => notFinite[which] > 0);
    const counts = where.map((which) => `${notFinite[which]} in the ${which} network`).join(', ');
    return [
      ...(where.length > 0
        ? [
            warn(
              'WARN_VERTEXQ_NOT_FINITE',
              `The output "${this.name}" has NaN or infinite numbers in ${rows} rows: ${counts}${found === null ? '' : `. ${found}`}`,
            ),
          ]
        : []),
      ...(this.otherShape > 0
        ? [
            warn(
              'WARN_VERTEXQ_OUTPUT_LEFT_OUT',
              `The output "${this.name}" of the quantized network has another shape or type in ${this.otherShape} runs: they are not in its numbers`,
            ),
          ]
        : []),
    ];
  }
}

function share(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

/** Numbers of any float type; null for others. */
async function floatsOf({ data, type }: TensorLike): Promise<FloatData | null> {
  if (isFloat(data)) return data;
  if (type !== 'float16') return null;
  // A Float16Array where the runtime and Node have one: the same bytes.
  return (await convert(data as Uint16Array, 'F16', 'F32')).data;
}
