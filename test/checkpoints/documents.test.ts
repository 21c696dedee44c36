import test, { type ExecutionContext } from 'ava';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint, quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { smallModel, writeFolder } from './make';

function sample(t: ExecutionContext, config: string | Buffer) {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  writeFileSync(join(input, 'config.json'), config);
  return { input, output };
}

/** Both the dry run and the run are refused so, and nothing is written. */
async function refused(
  t: ExecutionContext,
  input: string,
  output: string,
  expected: { code: string; message: RegExp },
  options: CheckpointOptions = {},
) {
  await t.throwsAsync(planCheckpoint(input, output, options), expected);
  await t.throwsAsync(quantizeCheckpoint(input, output, options), expected);
  t.false(existsSync(output));
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

test('trust 12: JSON too deep to be read is refused before work, by the dry run too', async (t) => {
  const message = /config\.json is no valid JSON: it nests deeper than 2000 levels/;
  for (const config of [
    `{"model_type":"llama","x":${nested(20_000)}}`,
    `{"model_type":"llama","x":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`,
  ]) {
    const { input, output } = sample(t, config);
    await refused(t, input, output, { code: 'ERR_VERTEXQ_FILE', message });
  }
  const { input, output } = sample(t, '{"model_type":"llama"}');
  const index = join(input, 'model.safetensors.index.json');
  const text = readFileSync(index, 'utf8');
  writeFileSync(index, text.replace('"total_size":1', `"total_size":1,"x":${nested(20_000)}`));
  await refused(t, input, output, {
    code: 'ERR_VERTEXQ_SAFETENSORS',
    message: /no valid index: "metadata": it nests deeper/,
  });
  // What Python's readers take goes through.
  writeFileSync(index, text);
  writeFileSync(join(input, 'config.json'), `{"model_type":"llama","x":${nested(900)}}`);
  await quantizeCheckpoint(input, output);
  t.true(readFileSync(join(output, 'config.json'), 'utf8').includes(nested(900)));
});

test("trust 15: config.json's text stays as it is, and our key is added", async (t) => {
  for (const [before, after] of [
    // Numbers, white space, escapes, equal names.
    [
      '{ "model_type" : "llama",\t"a": 9223372036854775807, "b": 1e400, "c": 10000.0, "d": -0.0, "e": 1E5,\n\n "f":\r\n[1 ,2], "g": "\\u00e9\\/", "h": 1, "h": 2 }\n\n',
      / "h": 2, "quantization_config": \{.*\} \}\n\n$/s,
    ],
    // What Python writes and reads.
    ['{"model_type":"llama","a":Infinity,"b":[-Infinity,NaN]}', /NaN\],"quantization_config":\{.*\}\}$/],
    [
      '\ufeff{\n  "model_type": "llama"\n}\n',
      /"llama",\n {2}"quantization_config": \{\n {4}".*\n {2}\}\n\}\n$/s,
    ],
    ['{\n\t"model_type": "llama"\n}', /"llama",\n\t"quantization_config": \{\n\t\t"quant_method"/],
    ['{}', /^\{"quantization_config":\{.*\}\}$/],
    [
      '{"quantization_config":null,"z":18446744073709551616}',
      /^\{"quantization_config":\{.*\},"z":18446744073709551616\}$/,
    ],
    // A lone surrogate has no UTF-8, its escape has.
    ['{"a":"\\ud800"}', /^\{"a":"\\ud800","quantization_config"/],
  ] as const) {
    const { input, output } = sample(t, before);
    await quantizeCheckpoint(input, output);
    const text = readFileSync(join(output, 'config.json'), 'utf8');
    t.regex(text, after);
    const added = text.indexOf('"quantization_config"');
    const own = before.slice(0, before.indexOf('"quantization_config"') + 1 || before.lastIndexOf('}'));
    t.true(text.startsWith(own.trimEnd()), before);
    t.true(added > 0);
    const plain = `${output}-float`;
    await quantizeCheckpoint(input, plain, { format: 'float' });
    t.is(readFileSync(join(plain, 'config.json'), 'utf8'), before);
  }
});

test('trust 15: what is no JSON, or no UTF-8, is refused before work', async (t) => {
  for (const [config, message] of [
    [Buffer.from('{"a":"\xff"}', 'latin1'), /config\.json is not UTF-8/],
    [Buffer.from('{"a":"\xc3("}', 'latin1'), /config\.json is not UTF-8/],
    ['{"a":01}', /no valid JSON: expected "," or "\}" at character 6/],
    ['{"a":1,}', /no valid JSON: expected the name of a member/],
    ['{"a":+Infinity}', /no valid JSON: expected a value/],
    ['{"a":"\n"}', /no valid JSON: expected the end of a string/],
    ['{"a":1} {', /no valid JSON: expected the end/],
    ['[]', /config\.json should hold an object/],
  ] as const) {
    const { input, output } = sample(t, config);
    await refused(t, input, output, { code: 'ERR_VERTEXQ_FILE', message });
  }
});

test("trust 15: the index's other members stay as they are", async (t) => {
  const { input, output } = sample(t, '{}');
  const index = join(input, 'model.safetensors.index.json');
  const text = readFileSync(index, 'utf8').replace(
    '"metadata":{"total_size":1}',
    '"metadata":{"total_parameters": 9223372036854775807, "total_size": 1.0, "x":NaN},"y" :1e400',
  );
  writeFileSync(index, `\ufeff${text}`);
  await quantizeCheckpoint(input, output);
  const written = readFileSync(join(output, 'model.safetensors.index.json'), 'utf8');
  t.regex(
    written,
    /^\ufeff\{"metadata":\{"total_parameters": 9223372036854775807, "total_size": \d+, "x":NaN\},"y" :1e400,"weight_map":\{"lm_head\.weight":/,
  );
});
