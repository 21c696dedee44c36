import { describe } from '../../options/messages';
import type { GraphStage } from '../forward/stages';
import { gradientOf, type Part } from '../gradients/index';
import { typeOf } from '../gradients/types';
import type { Layer } from '../layers/layer';
import { floatTypes } from '../../containers/onnx/element-types';
import { node } from '../../containers/onnx/make';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import type { OpenModel } from '../open-model';
import type { Asked } from './asked';
import type { Question, Taken } from './question';

/** The cotangent of a value: what is asked about it, or what has come of the parts behind. */
export interface CotangentInput {
  value: string;
  from: 'draw' | 'later';
}

/** A layer that something is asked of, and the value that its rows' products are. */
export interface Watched<Own> {
  layer: Own;
  value: string;
}

/** What takes cotangents back through a part. */
export interface Gradient<Own> {
  nodes: NodeProto[];
  constants: TensorProto[];
  inputs: ReadonlyMap<string, CotangentInput>;
  /** By value that the part takes. */
  results: ReadonlyMap<string, string>;
  rows: ReadonlyMap<Own, Taken>;
}

interface Task<Own extends Layer> {
  opened: OpenModel;
  question: Question;
  watched: readonly Watched<Own>[];
  /** Why a layer has nothing: more are put there. */
  reasons: Map<Own, string>;
  asked: readonly Asked[];
  /** Values of parts before that cotangents have been put for. */
  pending: ReadonlySet<string>;
  /** Values that some layer's outputs flow into. */
  behind: ReadonlySet<string>;
  prefix: string;
}

/** Makes, part by part from the last to the first, the nodes that go back through a network. */
export class PartGradients<Own extends Layer> {
  /** Values that an operator without a rule keeps from having all of theirs, and why. */
  private readonly blocked = new Map<string, string>();

  constructor(private readonly task: Task<Own>) {}

  /** The nodes that take cotangents back through a part; null where nothing is asked of it. `made`: its values; `known`: those of them that have cotangents. */
  of(part: GraphStage, known: readonly string[], made: ReadonlySet<string>): Gradient<Own> | null {
    const { opened, watched, reasons, behind, prefix, pending } = this.task;
    const { graph } = opened;
    const own = watched.filter(({ value, layer }) => made.has(value) && !reasons.has(layer));
    const wanted = [
      ...new Set([
        ...part.inputs.filter((name) => behind.has(name) && floatTypes.has(typeOf(graph, name))),
        ...own.map(({ value }) => value),
      ]),
    ];
    const whole = { graph, opset: opsetOf(opened.model), nodes: part.nodes, wanted, prefix };
    this.passOn(whole, made);
    const free = wanted.filter((name) => !this.blocked.has(name));
    const outputs = known.filter((name) => !this.blocked.has(name));
    const { nodes, constants, cotangents, results, missing } = gradientOf({
      ...whole,
      outputs,
      wanted: free,
    });
    for (const { operator, node: place, reason, values } of missing)
      for (const name of values)
        this.block(
          name,
          `no gradient passes the operator ${operator} (${describe(place)})${reason === undefined ? '' : `: ${reason}`}`,
        );
    const rows = new Map<Own, Taken>();
    const all = [...nodes];
    const others: TensorProto[] = [...constants];
    for (const { layer, value } of own) {
      const blockedBy = this.blocked.get(value);
      const cotangent = results.get(value);
      if (blockedBy !== undefined) reasons.set(layer, blockedBy);
      else if (cotangent !== undefined) {
        const taken = this.task.question.taken(layer, cotangent, prefix);
        all.push(...taken.nodes);
        others.push(...taken.constants);
        rows.set(layer, taken);
      }
    }
    const inputs = new Map<string, CotangentInput>();
    const isAsked = (name: string) => this.task.asked.some(({ value }) => value === name);
    for (const [value, input] of cotangents)
      if (!isAsked(value) || !pending.has(value))
        inputs.set(input, { value, from: isAsked(value) ? 'draw' : 'later' });
      else {
        // What is given out is used besides.
        const [drawn, later] = [`${prefix}drawn/${value}`, `${prefix}later/${value}`];
        inputs.set(drawn, { value, from: 'draw' }).set(later, { value, from: 'later' });
        all.unshift(node('Add', [drawn, later], [input]));
      }
    const back = new Map<string, string>();
    for (const name of part.inputs) {
      const result = results.get(name);
      if (result === undefined) continue;
      back.set(name, result);
      if (!pending.has(name)) continue;
      // Of parts behind this one, too.
      const [later, sum] = [`${prefix}later/${name}`, `${prefix}all/${name}`];
      all.push(node('Add', [result, later], [sum]));
      inputs.set(later, { value: name, from: 'later' });
      back.set(name, sum);
    }
    if (back.size === 0 && rows.size === 0) return null;
    return { nodes: all, constants: others, inputs, results: back, rows };
  }

  /** What flows into a value that lacks some of its cotangents lacks some too. */
  private passOn(whole: Omit<Part, 'outputs'>, made: ReadonlySet<string>): void {
    for (const [value, reason] of [...this.blocked]) {
      if (!made.has(value)) continue;
      const through = gradientOf({ ...whole, outputs: [value] });
      for (const name of [...through.results.keys(), ...through.missing.flatMap(({ values }) => values)])
        this.block(name, reason);
    }
  }

  private block(value: string, reason: string): void {
    if (!this.blocked.has(value)) this.blocked.set(value, reason);
  }
}
