import { create, toBinary } from '@bufbuild/protobuf';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gradientOf } from '../../lib/models/gradients';
import { valueInfo } from '../../lib/containers/onnx/make';
import { opsetOf } from '../../lib/containers/onnx/opset';
import {
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
} from '../../lib/containers/onnx/onnx_pb';
import { shallowCopy } from '../../lib/containers/onnx/shallow-copy';
import { loadSession, runSession } from '../../lib/models/runtime';
import type { OpenDecoder } from '../../lib/decoders/open';
import { inFolder } from '../../test/decoders/run';
import { cases, weightsIn, writeModel } from '../../test/decoders/tiny';
import { random } from '../../test/models/networks';

// Holds gradients of language models, in float32 by onnxruntime, against PyTorch's in float64:
//     npx tsx bench/gradients/index.ts <python with torch and transformers>

/** Of the largest number of a layer's. */
const bound = 1e-4;

const bytes = (model: OpenDecoder['model']) => toBinary(ModelProtoSchema, model);

/** The cotangents of all products by the name of the module, where the logits' are `weighting`. */
async function computed(
  { model, weights, graph }: OpenDecoder,
  ids: number[][],
  weighting: Float32Array,
): Promise<Map<string, Float32Array>> {
  const wanted = graph.order.filter(({ opType }) => opType === 'MatMul').map(({ output }) => output[0]!);
  const gradient = gradientOf({
    ...{ graph, opset: opsetOf(model), nodes: graph.order, outputs: ['logits'], wanted, prefix: 'gradient/' },
  });
  if (gradient.missing.length > 0) throw new Error(`without a rule: ${JSON.stringify(gradient.missing)}`);
  const whole = shallowCopy(model);
  const body = (whole.graph = shallowCopy(await weights.inlinedGraph(graph.proto)));
  const carrier = gradient.cotangents.get('logits')!;
  const names = [...gradient.results.values()];
  body.node = [...graph.order, ...gradient.nodes];
  body.initializer = [...body.initializer, ...gradient.constants];
  body.input = [...body.input, valueInfo(carrier, DataType.FLOAT)];
  body.output = names.map((name) => create(ValueInfoProtoSchema, { name }));
  const session = await loadSession(bytes(whole), 'the gradient');
  const dims = [ids.length, ids[0]!.length];
  const made = await runSession(
    session,
    {
      input_ids: { type: 'int64', dims, data: BigInt64Array.from(ids.flat(), BigInt) },
      [carrier]: {
        type: 'float32',
        dims: [...dims, weighting.length / (dims[0]! * dims[1]!)],
        data: weighting,
      },
    },
    names,
    'the gradient',
  );
  await session.release();
  return new Map([...gradient.results].map(([value, name]) => [value, made[name]!.data as Float32Array]));
}

async function main([python]: string[]): Promise<void> {
  if (python === undefined) throw new Error('name a python that has torch and transformers');
  const root = mkdtempSync(join(tmpdir(), 'vertexq-gradients-'));
  try {
    const questions = cases.map(({ config, ids, logits, ...golden }, i) => {
      const folder = join(root, String(i));
      mkdirSync(folder);
      writeModel(folder, config, weightsIn({ config, ids, logits, ...golden }));
      return { folder, ids, weighting: random(logits.flat(2).length, 11) };
    });
    const { status, stdout, stderr } = spawnSync(python, [join(__dirname, 'gradients.py')], {
      input: JSON.stringify(
        questions.map(({ weighting, ...rest }) => ({ ...rest, weighting: [...weighting] })),
      ),
      ...{ encoding: 'utf8', maxBuffer: 2 ** 30 },
    });
    if (status !== 0) throw new Error(stderr);
    let failed = 0;
    for (const [i, answer] of (JSON.parse(stdout) as Record<string, number[]>[]).entries()) {
      const [{ folder, ids, weighting }, { name }] = [questions[i]!, cases[i]!];
      const found = await inFolder(folder, ids[0]!.length, (decoder) => computed(decoder, ids, weighting));
      const worst = Object.entries(answer).map(([layer, values]) => {
        const own = found.get(layer);
        if (own?.length !== values.length) throw new Error(`${name}: ${layer} is not there`);
        const off = Math.max(...values.map((value, i) => Math.abs(value - own[i]!)));
        return off / Math.max(Number.MIN_VALUE, ...values.map(Math.abs));
      });
      const most = Math.max(...worst);
      if (!(most <= bound)) failed++;
      console.log(
        `${name}: ${worst.length} layers, off by ${most.toExponential(1)} of their largest number at most`,
      );
    }
    if (failed > 0) throw new Error(`${failed} of ${cases.length} are off by more than ${bound}`);
  } finally {
    rmSync(root, { recursive: true });
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
