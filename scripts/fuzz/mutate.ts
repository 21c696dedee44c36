import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { byteMutations } from './byte-mutations';
import type { Original } from './corpus';
import { messageMutations } from './message-mutations';
import { Chooser } from './random';
import { fieldsOf } from './wire';

export interface Mutant {
  /** Of which model, and what was done to it. */
  name: string;
  mutations: string[];
  bytes: Uint8Array;
  /** What may be chosen beyond the model, from the same source. */
  choose: Chooser;
}

/** The mutant number `run` of a seed: always the same. */
export function mutant(originals: readonly Original[], seed: number, run: number): Mutant {
  const choose = new Chooser(seed, run);
  const { name, bytes: intact } = weighted(originals, choose);
  const mutations: string[] = [];
  let bytes = intact;
  const messages = choose.of([0, 0, 1, 1, 1, 2, 3]);
  if (messages > 0) {
    const model = fromBinary(ModelProtoSchema, intact);
    for (let i = 0; i < messages; i++) {
      const chosen = choose.of(Object.keys(messageMutations));
      // One may have taken away what another needs.
      if (model.graph && messageMutations[chosen]!(model, choose) !== false) mutations.push(chosen);
    }
    bytes = toBinary(ModelProtoSchema, model);
  }
  if (messages === 0 || choose.chance(0.2)) {
    const fields = fieldsOf(bytes);
    const chosen = choose.of(Object.keys(byteMutations));
    if (fields.length > 0) {
      bytes = byteMutations[chosen]!({ name, bytes, fields }, choose);
      mutations.push(chosen);
    }
  }
  return { name, mutations, bytes, choose };
}

function weighted(originals: readonly Original[], choose: Chooser): Original {
  let at = choose.below(originals.reduce((sum, { weight }) => sum + weight, 0));
  return originals.find(({ weight }) => (at -= weight) < 0)!;
}
