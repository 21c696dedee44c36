import { InferenceSession, Tensor } from 'onnxruntime-node';
import { tokenizeSentence } from '../scripts/models/sentence-encoder';

/** One embedding per sentence, [512] each: run one at a time, so that no padding takes part. */
export async function embed(model: string, sentences: readonly string[]): Promise<Float32Array[]> {
  const session = await InferenceSession.create(model);
  const embeddings: Float32Array[] = [];
  for (const sentence of sentences) {
    const ids = BigInt64Array.from(tokenizeSentence(sentence), BigInt);
    const dims = [1, ids.length];
    const { embedding } = await session.run({
      ids: new Tensor('int64', ids, dims),
      mask: new Tensor('float32', new Float32Array(ids.length).fill(1), dims),
    });
    embeddings.push(embedding!.data as Float32Array);
  }
  await session.release();
  return embeddings;
}

/** The cosine of the angle between two vectors of equal length. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return ab / Math.sqrt(aa * bb);
}

export function meanCosine(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return a.reduce((sum, vector, i) => sum + cosine(vector, b[i]!), 0) / a.length;
}
