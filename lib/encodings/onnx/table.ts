import type { ModelFormat } from '../names';
import { qdq } from './dequantize-linear';
import type { ModelEncoding } from './encoding';
import { float } from './float';
import { matmulnbits } from './matmulnbits';

/** The encodings of networks, a row each. */
export const modelEncodings: Readonly<Record<ModelFormat, ModelEncoding>> = { matmulnbits, qdq, float };
