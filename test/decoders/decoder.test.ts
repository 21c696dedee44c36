import test from 'ava';
import { cases, fusedExperts, type Golden, type Weights, weightsIn } from './tiny';
import { logitsOf, withDecoder } from './run';

const length = 12;

for (const golden of cases)
  test(`logits are those of transformers: ${golden.name}`, async (t) => {
    const expected = golden.logits.flat(2);
    const range = Math.max(...expected) - Math.min(...expected);
    for (const dtype of ['F32', 'BF16', 'F16'] as const) {
      const logits = await logitsOf({ ...golden, weights: weightsIn(golden), dtype }, golden.ids);
      t.is(logits.length, expected.length);
      const worst = Math.max(...expected.map((value, i) => Math.abs(value - logits[i]!)));
      t.true(worst <= 1e-4 * range, `${dtype}: off by ${worst} of ${range}`);
    }
  });

const goldenOf = (name: string) => cases.find((golden) => golden.name === name)!;

test('a token sees those before it alone, and no other text of its batch', async (t) => {
  for (const golden of cases) {
    const { ids } = golden;
    const model = { ...golden, weights: weightsIn(golden) };
    const [both, first] = [await logitsOf(model, ids), await logitsOf(model, [ids[0]!.slice(0, 7)], length)];
    const worst = Math.max(...first.map((value, i) => Math.abs(value - both[i]!)));
    t.true(worst < 1e-5, `${golden.name}: ${worst}`);
  }
});

/** A config as it was written before version 5 of transformers. */
function older(config: Record<string, unknown>): Record<string, unknown> {
  const { rope_parameters, ...others } = config;
  delete others['layer_types'];
  if (!rope_parameters) return others;
  const given = rope_parameters as Record<string, unknown>;
  const own = (given['full_attention'] ?? given) as Record<string, unknown>;
  const { rope_theta, partial_rotary_factor, ...scaling } = own;
  const local = given['sliding_attention'] as { rope_theta: number } | undefined;
  return {
    ...others,
    ...{ rope_theta, rope_scaling: scaling['rope_type'] === 'default' ? null : scaling },
    ...(partial_rotary_factor === undefined ? {} : { partial_rotary_factor }),
    ...(local ? { rope_local_base_freq: local.rope_theta } : {}),
  };
}

test('configs of older versions give the same networks, and nothing in any is unknown', async (t) => {
  for (const golden of cases) {
    const weights = weightsIn(golden);
    const shapeOf = (config: Golden['config']) =>
      withDecoder({ config, weights }, length, ({ shape: { blocks, warnings } }) => ({ blocks, warnings }));
    const now = await shapeOf(golden.config);
    t.deepEqual(now.warnings, [], golden.name);
    t.deepEqual(await shapeOf(older(golden.config)), now, golden.name);
  }
});

test('experts in one tensor are those in many', async (t) => {
  for (const name of ['mixtral', 'qwen3 of experts']) {
    const { ids, config } = goldenOf(name);
    const weights = weightsIn(goldenOf(name));
    t.deepEqual(
      await logitsOf({ config, weights: fusedExperts(weights) }, ids),
      await logitsOf({ config, weights }, ids),
    );
  }
});

test('names of GPT-2 without their first part, and buffers that files hold', async (t) => {
  const { ids, config } = goldenOf('gpt2');
  const weights = weightsIn(goldenOf('gpt2'));
  const bare = Object.fromEntries(
    Object.entries(weights).map(([name, weight]) => [name.replace(/^transformer\./, ''), weight]),
  );
  bare['h.0.attn.bias'] = { shape: [1, 1, 16, 16], values: new Float32Array(256) };
  t.deepEqual(await logitsOf({ config, weights: bare }, ids), await logitsOf({ config, weights }, ids));
});

const llama = goldenOf('llama');
const refusals: Record<
  string,
  { of?: Golden; config?: object; weights?: (weights: Weights) => void; longest?: number; told: RegExp }
> = {
  'an architecture that is not known': {
    config: { architectures: ['BloomForCausalLM'] },
    told: /config\.json: the architecture "BloomForCausalLM" is not known\. Known are LlamaForCausalLM, .*--method msq/,
  },
  'no architecture': { config: { architectures: null }, told: /config\.json has no "architectures"/ },
  'a scaling of the rotation that is not known': {
    config: { rope_parameters: { rope_type: 'spiral', factor: 2 } },
    told: /config\.json "rope_parameters": "rope_type" should be one of default, linear, .*, and is "spiral"/,
  },
  'a property of a scaling that is not known': {
    config: { rope_parameters: { rope_type: 'linear', factor: 2, twist: 3 } },
    told: /"twist" should be absent: the scaling "linear" is not known to have it/,
  },
  'a scaling without its factor': {
    config: { rope_parameters: { rope_type: 'llama3' } },
    told: /"rope_parameters": "factor" should be a number, and is nothing/,
  },
  'an activation that is not known': {
    config: { hidden_act: 'mish' },
    told: /"hidden_act" should be one of silu, .*"mish"/,
  },
  'heads that do not fall into groups': {
    config: { num_key_value_heads: 3 },
    told: /"num_key_value_heads" should be a divisor of the 4 of "num_attention_heads", and is 3/,
  },
  'what is computed otherwise': {
    config: { pretraining_tp: 2 },
    told: /"pretraining_tp" should be 1.*, and is 2/,
  },
  'sizes of another kind': {
    config: { hidden_size: '32' },
    told: /"hidden_size" should be a whole number.*"32"/,
  },
  'a tensor of another shape': {
    config: { intermediate_size: 47 },
    told: /the tensor "model\.layers\.0\.mlp\.gate_proj\.weight" is \[48, 32\], and should be \[47, 32\] in a LlamaForCausalLM/,
  },
  'a tensor that is not there': {
    weights: (weights) => void delete weights['model.norm.weight'],
    told: /there is no tensor "model\.norm\.weight", \[32\], of a LlamaForCausalLM of this config/,
  },
  'a tensor too many': {
    weights: (weights) =>
      (weights['model.layers.0.self_attn.q_proj.bias'] = { shape: [32], values: new Float32Array(32) }),
    told: /the tensor "model\.layers\.0\.self_attn\.q_proj\.bias" has no place in a LlamaForCausalLM/,
  },
  'sequences beyond learned positions': {
    of: goldenOf('gpt2'),
    longest: 17,
    told: /there are 16 positions, and sequences of 17 tokens were asked for/,
  },
  'sequences beyond what "dynamic" leaves': {
    of: goldenOf('llama, dynamic scaling'),
    longest: 65,
    told: /sequences of 65 tokens are longer than the 64/,
  },
};

for (const [name, { of = llama, config = {}, weights: change, longest = length, told }] of Object.entries(
  refusals,
))
  test(`refused with what is known: ${name}`, async (t) => {
    const weights = weightsIn(of);
    change?.(weights);
    await t.throwsAsync(
      withDecoder({ config: { ...of.config, ...config }, weights }, longest, () => {}),
      { code: 'ERR_VERTEXQ_DECODER', message: told },
    );
  });

test('a key that is not known is told', async (t) => {
  const config = { ...llama.config, moon_phase: 3, image_token_index: 7 };
  const warnings = await withDecoder(
    { config, weights: weightsIn(llama) },
    length,
    ({ shape }) => shape.warnings,
  );
  t.is(warnings.length, 1);
  t.regex(
    warnings[0]!,
    /config\.json: "moon_phase" is not known for LlamaForCausalLM, and left out of account/,
  );
});
