import type { OpenDecoder } from '../decoders/open';
import { VertexqError } from '../errors';
import { joined, piecesOf } from '../models/curvature/pieces';
import { loadStage } from '../models/forward/stage-network';
import type { GraphStage } from '../models/forward/stages';
import { gradientOf } from '../models/gradients/index';
import { unusedPrefix } from '../containers/onnx/graph';
import { node, tensor } from '../containers/onnx/make';
import { opsetOf } from '../containers/onnx/opset';
import type { ThreadedSession } from '../models/threaded-session';
import type { TensorLike } from '../types';
import { logits } from './scaled-parts';

/** What the two networks say of the next token at a batch's places. */
export interface Judged {
  /** Σ over the places of the KL divergence from the float network, in nats. */
  divergence: number;
  places: number;
  /** Its derivatives by what the quantized network's head has taken. */
  cotangent: TensorLike;
}

/**
 * The heads of two decoders: how far what the quantized one says is from what the float one does, D(p ‖ q) = Σ p·log(p / q) of their softmaxes, whose derivatives by the logits
 * of q are q − p. Logits are there for some places at a time.
 */
export class Heads {
  private constructor(
    private readonly stages: { float: GraphStage; quantized: GraphStage },
    private readonly vocabulary: number,
    private readonly float: ThreadedSession,
    private readonly quantized: ThreadedSession,
    private readonly names: { divergence: string; teacher: string; cotangent: string },
  ) {}

  static async load(
    float: OpenDecoder,
    quantized: OpenDecoder,
    stages: { float: GraphStage; quantized: GraphStage },
  ): Promise<Heads> {
    const substitutes = new Map<never, never>();
    const inputsOf = ({ inputs }: GraphStage) => inputs.map((name) => ({ name, type: 'float32' }));
    const teacher = await loadStage(
      { ...float, nodes: stages.float.nodes, inputs: inputsOf(stages.float), outputs: [logits], substitutes },
      `the head of ${float.file}`,
    );
    try {
      const { nodes, constants, names } = divergenceNodes(quantized, stages.quantized);
      const session = await loadStage(
        {
          ...{ ...quantized, nodes, constants, substitutes },
          inputs: [...inputsOf(stages.quantized), { name: names.teacher, type: 'float32' }],
          outputs: [names.divergence, names.cotangent],
        },
        `the head of ${quantized.file}`,
      );
      return new Heads(stages, float.shape.vocabulary, teacher, session, names);
    } catch (error) {
      await teacher.release();
      throw error;
    }
  }

  /** Of a batch: what the heads take, [batch, sequence, hidden]. */
  async judge(float: TensorLike, quantized: TensorLike): Promise<Judged> {
    const { stages, names } = this;
    const pieces = (stage: GraphStage, value: TensorLike) => {
      const from = stage.inputs[0]!;
      return piecesOf({ from, vocabulary: this.vocabulary }, stage, { [from]: value });
    };
    const others = pieces(stages.quantized, quantized);
    let [divergence, places] = [0, 0];
    const cotangents: TensorLike[] = [];
    for (const [i, piece] of pieces(stages.float, float).entries()) {
      const { [logits]: teacher } = await this.float.run(piece, [logits]);
      const made = await this.quantized.run({ ...others[i]!, [names.teacher]: teacher! }, [
        names.divergence,
        names.cotangent,
      ]);
      const divergences = made[names.divergence]!.data as Float32Array;
      for (const own of divergences) divergence += own;
      places += divergences.length;
      cotangents.push(made[names.cotangent]!);
    }
    return { divergence, places, cotangent: joined(cotangents, quantized.dims) };
  }

  async release(): Promise<void> {
    await this.float.release();
    await this.quantized.release();
  }
}

/** The head, the divergence of what it gives from the float network's logits, and its derivatives by what the head takes. */
function divergenceNodes({ graph, model, file }: OpenDecoder, stage: GraphStage) {
  const prefix = unusedPrefix(model.graph!, 'tuning/');
  const at = (name: string) => prefix + name;
  const [value] = stage.inputs;
  const back = gradientOf({
    ...{ graph, opset: opsetOf(model), nodes: stage.nodes, outputs: [logits], wanted: [value!] },
    prefix: at('gradient/'),
  });
  const cotangent = back.results.get(value!);
  if (cotangent === undefined)
    throw new VertexqError('ERR_VERTEXQ_UNSUPPORTED', `${file}: no gradient passes the head`);
  const logSoftmax = (from: string, to: string) =>
    node('LogSoftmax', [from], [to], { attributes: { axis: -1n } });
  return {
    nodes: [
      ...stage.nodes,
      logSoftmax(at('teacher'), at('teacher/log')),
      logSoftmax(logits, at('own/log')),
      node('Exp', [at('teacher/log')], [at('teacher/shares')]),
      node('Exp', [at('own/log')], [at('own/shares')]),
      node('Sub', [at('teacher/log'), at('own/log')], [at('ratio')]),
      node('Mul', [at('teacher/shares'), at('ratio')], [at('terms')]),
      node('ReduceSum', [at('terms'), at('last')], [at('divergence')], { attributes: { keepdims: 0n } }),
      node('Sub', [at('own/shares'), at('teacher/shares')], [back.cotangents.get(logits)!]),
      ...back.nodes,
    ],
    constants: [tensor(at('last'), [1], BigInt64Array.of(-1n)), ...back.constants],
    names: { divergence: at('divergence'), teacher: at('teacher'), cotangent },
  };
}
