import type { Activation, Linear } from './architectures';
import type { Operations } from './operations';
import type { Rotation } from './rotation';
import type { BlockShape, DecoderShape } from './shape';
import type { Text } from './text';
import type { DecoderWeights } from './weights';

/** What every block has to do with. */
export interface Surroundings {
  shape: DecoderShape;
  operations: Operations;
  weights: DecoderWeights;
  text: Text;
  /** Of each rotation: [sequence, size/2], or [batch, 1, sequence, size/2]. */
  turns: ReadonlyMap<Rotation, { cosine: string; sine: string }>;
  /** Filled in where it is given: by what an expert's layers see, what they would see of all tokens, which the network itself does not compute. */
  wider: Map<string, string> | null;
}

/** One block's operators. */
export class Block {
  private readonly operations: Operations;

  /** `path`: of its modules, with a dot at the end. */
  constructor(
    private readonly around: Surroundings,
    private readonly block: BlockShape,
    private readonly path: string,
  ) {
    this.operations = around.operations;
  }

  /** What it makes of [batch, sequence, hidden]. */
  apply(tokens: string): string {
    const { norms } = this.around.shape.architecture;
    const attended = this.branch(tokens, norms.beforeAttention, norms.afterAttention, (value) =>
      this.attention(value),
    );
    return this.branch(attended, norms.beforeFeedForward, norms.afterFeedForward, (value) =>
      this.feedForward(value),
    );
  }

  /** tokens + scale · after(compute(before(tokens))) */
  private branch(
    tokens: string,
    before: string | undefined,
    after: string | undefined,
    compute: (value: string) => string,
  ): string {
    const seen = before === undefined ? tokens : this.norm(before, tokens);
    const made = compute(seen);
    const normed = after === undefined ? made : this.norm(after, made);
    const scaled = this.operations.scaled(`${normed}/scaled`, normed, this.around.shape.scale.residual);
    return this.operations.add('Add', `${made}/added`, [tokens, scaled]);
  }

  private norm(module: string, value: string): string {
    return normOf(this.around, `${this.path}${module}`, value, this.around.shape.hidden);
  }

  private linear(linear: Linear, value: string, inFeatures: number, outFeatures: number): string {
    const { shape, weights } = this.around;
    const { transposed = false } = shape.architecture;
    const name = `${this.path}${linear.module}`;
    const weight = weights.matrix(`${name}.weight`, outFeatures, inFeatures, transposed);
    const product = this.operations.add('MatMul', name, [value, weight]);
    if (!shape.hasBias(linear)) return product;
    return this.operations.add('Add', `${name}/biased`, [
      product,
      weights.vector(`${name}.bias`, outFeatures),
    ]);
  }

  /** Vaswani et al. (2017); queries of a group share keys and values (Ainslie et al., 2023). */
  private attention(value: string): string {
    const { operations, path } = this;
    const { shape, text } = this.around;
    const { heads, keyValueHeads, headSize, hidden } = shape;
    const perGroup = heads / keyValueHeads;
    const [queries, keys, values] = this.projections(value);
    const at = (name: string) => `${path}attention/${name}`;
    const query = this.turned('query', this.heads('query', queries, heads));
    const [key, seen] = this.around.text.withPast(
      this.turned('key', this.heads('key', keys, keyValueHeads)),
      this.heads('value', values, keyValueHeads),
    );
    // [batch, keyValueHeads, perGroup · sequence, headSize]: a product for each group.
    const together = operations.reshape(at('query/together'), query, [0, keyValueHeads, -1, headSize]);
    const across = operations.transpose(at('key/transposed'), key, [0, 1, 3, 2]);
    const product = operations.add('MatMul', at('scores'), [together, across]);
    const scaled = operations.scaled(at('scores/scaled'), product, shape.scale.scores);
    const capped = operations.softCapped(at('scores'), scaled, shape.softCap.scores);
    const apart = operations.add('Reshape', at('scores/apart'), [
      capped,
      this.shape('apart', [0, keyValueHeads, perGroup, -1], text.total),
    ]);
    const masked = operations.add('Where', at('scores/masked'), [
      text.visible(this.block.window, path),
      apart,
      operations.scalar(-Infinity),
    ]);
    const shares = operations.add('Softmax', at('shares'), [masked], { axis: -1n });
    const weights = operations.add('Reshape', at('shares/together'), [
      shares,
      this.shape('together', [0, keyValueHeads, -1], text.total),
    ]);
    const mixed = operations.add('MatMul', at('mixed'), [weights, seen]);
    const split = operations.add('Reshape', at('mixed/apart'), [
      mixed,
      this.shape('mixed', [0, keyValueHeads, perGroup], text.sequence, [headSize]),
    ]);
    const back = operations.transpose(at('mixed/transposed'), split, [0, 3, 1, 2, 4]);
    const joined = operations.reshape(at('mixed/joined'), back, [0, 0, heads * headSize]);
    return this.linear(shape.architecture.attention.output, joined, heads * headSize, hidden);
  }

  private projections(value: string): [string, string, string] {
    const { shape } = this.around;
    const { projections, norms } = shape.architecture.attention;
    const [own, shared] = [shape.heads * shape.headSize, shape.keyValueHeads * shape.headSize];
    const sizes = [own, shared, shared];
    const [query, key, values] =
      'fused' in projections
        ? this.operations.split(
            `${this.path}${projections.fused.module}/parts`,
            this.linear(projections.fused, value, shape.hidden, own + 2 * shared),
            sizes,
          )
        : [projections.query, projections.key, projections.value].map((linear, i) =>
            this.linear(linear, value, shape.hidden, sizes[i]!),
          );
    if (norms?.of !== 'projection') return [query!, key!, values!];
    const normed = [
      normOf(this.around, `${this.path}${norms.query}`, query!, own),
      normOf(this.around, `${this.path}${norms.key}`, key!, shared),
    ] as const;
    return [...normed, values!];
  }

  /** [batch, sequence, count · headSize] as [batch, count, sequence, headSize]; queries and keys normed where that is of heads. */
  private heads(what: 'query' | 'key' | 'value', value: string, count: number): string {
    const { headSize, architecture } = this.around.shape;
    const name = `${this.path}attention/${what}`;
    let cut = this.operations.reshape(`${name}/heads`, value, [0, 0, count, headSize]);
    const { norms } = architecture.attention;
    if (norms?.of === 'head' && what !== 'value')
      cut = normOf(this.around, `${this.path}${norms[what]}`, cut, headSize);
    return this.operations.transpose(`${name}/ordered`, cut, [0, 2, 1, 3]);
  }

  /** Turned by its place; halves of a head are pairs. */
  private turned(what: string, value: string): string {
    const { rotation } = this.block;
    if (!rotation) return value;
    const { operations } = this;
    const name = `${this.path}attention/${what}/turned`;
    const { cosine, sine } = this.around.turns.get(rotation)!;
    const [half, rest] = [rotation.size / 2, this.around.shape.headSize - rotation.size];
    const [first, second, kept] = operations.split(`${name}/parts`, value, [
      half,
      half,
      ...(rest > 0 ? [rest] : []),
    ]);
    const times = (part: string, by: string, end: string) =>
      operations.add('Mul', `${name}/${end}`, [part, by]);
    const parts = [
      operations.add('Sub', `${name}/first`, [times(first!, cosine, 'cc'), times(second!, sine, 'ss')]),
      operations.add('Add', `${name}/second`, [times(second!, cosine, 'cs'), times(first!, sine, 'sc')]),
      ...(kept === undefined ? [] : [kept]),
    ];
    return operations.add('Concat', name, parts, { axis: -1n });
  }

  /** A shape that has a `length` between `before` and `after`; a 0 takes a dimension over. */
  private shape(
    what: string,
    before: readonly number[],
    length: string,
    after: readonly number[] = [],
  ): string {
    const { operations } = this;
    const parts = [operations.integers(before), length];
    if (after.length > 0) parts.push(operations.integers(after));
    return operations.add('Concat', `${this.path}attention/shape/${what}`, parts, { axis: 0n });
  }

  private feedForward(value: string): string {
    const { architecture, hidden } = this.around.shape;
    const { experts, feedForward: size } = this.block;
    if (experts?.shared) return this.withShared(value, experts.shared);
    if (experts) return this.experts(value);
    const layers = architecture.feedForward;
    if (layers.kind === 'plain')
      return this.linear(
        layers.down,
        this.activated(layers.up.module, this.linear(layers.up, value, hidden, size)),
        size,
        hidden,
      );
    const [gate, up] =
      layers.kind === 'gated-fused'
        ? this.operations.split(
            `${this.path}${layers.gateUp.module}/parts`,
            this.linear(layers.gateUp, value, hidden, 2 * size),
            [size, size],
          )
        : [this.linear(layers.gate, value, hidden, size), this.linear(layers.up, value, hidden, size)];
    return this.linear(layers.down, this.gated(layers.down.module, gate!, up!), size, hidden);
  }

  private gated(name: string, gate: string, up: string): string {
    return this.operations.add('Mul', `${this.path}${name}/gated`, [this.activated(name, gate), up]);
  }

  private activated(name: string, value: string): string {
    return activated(this.operations, `${this.path}${name}/activated`, value, this.around.shape.activation);
  }

  /** What a token's experts give, and the one that all tokens go to, weighted by a sigmoid of its own (Qwen 2, 2024). */
  private withShared(value: string, size: number): string {
    const { operations, path } = this;
    const { hidden, architecture } = this.around.shape;
    const { gate, up, down, share } = architecture.experts!.shared!;
    const [into, through] = [gate, up].map((module) => this.linear({ module }, value, hidden, size));
    const made = this.linear({ module: down }, this.gated(down, into!, through!), size, hidden);
    const weight = operations.add('Sigmoid', `${path}${share}/sigmoid`, [
      this.linear({ module: share }, value, hidden, 1),
    ]);
    const weighted = operations.add('Mul', `${path}${share}/weighted`, [made, weight]);
    return operations.add('Add', `${path}experts/all`, [this.experts(value), weighted]);
  }

  /** Each token goes to the experts its router prefers, and to no other (Shazeer et al., 2017). */
  private experts(value: string): string {
    const { operations, path } = this;
    const { hidden, architecture } = this.around.shape;
    const { count, perToken, renormalized } = this.block.experts!;
    const { router } = architecture.experts!;
    const at = (name: string) => `${path}experts/${name}`;
    const tokens = operations.reshape(at('tokens'), value, [-1, hidden]);
    const logits = this.linear({ module: router }, tokens, hidden, count);
    const chances = operations.add('Softmax', at('chances'), [logits], { axis: -1n });
    const [most, choice] = operations.addSeveral(
      'TopK',
      at('most'),
      [chances, operations.integers([perToken])],
      2,
    ) as [string, string];
    const sum = operations.add('ReduceSum', at('sum'), [most, operations.integers([-1])]);
    const shares = renormalized ? operations.add('Div', at('shares'), [most, sum]) : most;
    const { wider } = this.around;
    const every = wider ? operations.add('Identity', at('all'), [tokens]) : tokens;
    const [choices, results]: [string[], string[]] = [[], []];
    for (let expert = 0; expert < count; expert++) {
      const of = (name: string) => at(`${expert}/${name}`);
      const chosen = operations.add('Equal', of('chosen'), [choice, operations.integer(expert)]);
      // [2, tokens that chose it]: the token, and which of its choices it is.
      const found = operations.add('NonZero', of('found'), [chosen]);
      const pairs = operations.transpose(of('pairs'), found, [1, 0]);
      const row = operations.add('Gather', of('row'), [found, operations.integer(0)]);
      const own = operations.add('Gather', of('tokens'), [tokens, row]);
      const share = operations.add('GatherND', of('share'), [shares, pairs]);
      const inner = this.inner(own, expert);
      if (wider) wider.set(own, every).set(inner, this.inner(every, expert));
      const out = this.down(inner, expert);
      const column = operations.add('Unsqueeze', of('share/column'), [share, operations.integers([1])]);
      results.push(operations.add('Mul', of('weighted'), [out, column]));
      choices.push(pairs);
    }
    // Each choice of a token has a place of its own until they are summed: ScatterND's threads lose some where they add at one (onnxruntime 1.30).
    const counts = operations.add('Shape', at('choices'), [choice]);
    const sizes = operations.add('Concat', at('sizes'), [counts, operations.integers([hidden])], {
      axis: 0n,
    });
    const none = operations.add('Expand', at('none'), [operations.scalar(0), sizes]);
    const all = operations.add('Concat', at('results'), results, { axis: 0n });
    const places = operations.add('Concat', at('places'), choices, { axis: 0n });
    const apart = operations.add('ScatterND', at('apart'), [none, places, all]);
    const added = operations.add('ReduceSum', at('added'), [apart, operations.integers([1])], {
      keepdims: 0n,
    });
    const shape = operations.add('Shape', at('shape'), [value]);
    return operations.add('Reshape', at('together'), [added, shape]);
  }

  /** What the last layer of an expert sees of tokens. */
  private inner(tokens: string, expert: number): string {
    const { gate, up, down } = this.around.shape.architecture.experts!;
    const [into, through] = [gate, up].map((module) =>
      this.linear(this.ofExpert(expert, module), tokens, this.around.shape.hidden, this.block.feedForward),
    );
    return this.gated(this.ofExpert(expert, down).module, into!, through!);
  }

  private down(inner: string, expert: number): string {
    const { architecture, hidden } = this.around.shape;
    return this.linear(
      this.ofExpert(expert, architecture.experts!.down),
      inner,
      this.block.feedForward,
      hidden,
    );
  }

  private ofExpert(expert: number, module: string): Linear {
    return { module: `${this.around.shape.architecture.experts!.list}.${expert}.${module}` };
  }
}

/** RMSNorm or LayerNorm of the last axis, of `size` entries. */
export function normOf(
  { shape, operations, weights }: Surroundings,
  module: string,
  value: string,
  size: number,
): string {
  const weight = weights.vector(`${module}.weight`, size);
  const kind = shape.architecture.norm;
  if (kind === 'layer')
    return operations.add(
      'LayerNormalization',
      module,
      [value, weight, weights.vector(`${module}.bias`, size)],
      {
        axis: -1n,
        epsilon: shape.epsilon,
      },
    );
  // Zhang & Sennrich (2019).
  const squares = operations.add('Mul', `${module}/squares`, [value, value]);
  const mean = operations.add('ReduceMean', `${module}/mean`, [squares, operations.integers([-1])]);
  const safe = operations.add('Add', `${module}/safe`, [mean, operations.scalar(shape.epsilon)]);
  const normed = operations.add('Div', `${module}/normed`, [
    value,
    operations.add('Sqrt', `${module}/root`, [safe]),
  ]);
  const factor =
    kind === 'rms' ? weight : operations.add('Add', `${module}/weight`, [weight, operations.scalar(1)]);
  return operations.add('Mul', module, [normed, factor]);
}

function activated(operations: Operations, name: string, value: string, kind: Activation): string {
  if (kind === 'relu') return operations.add('Relu', name, [value]);
  if (kind === 'gelu') return operations.add('Gelu', name, [value]);
  if (kind === 'gelu-tanh') return operations.add('Gelu', name, [value], { approximate: 'tanh' });
  const scaled = kind === 'silu' ? value : operations.scaled(`${name}/scaled`, value, 1.702);
  return operations.add('Mul', name, [value, operations.add('Sigmoid', `${name}/sigmoid`, [scaled])]);
}
