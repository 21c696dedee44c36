import { create } from '@bufbuild/protobuf';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { Convolution, MaxPool, type Planes } from './trainer/convolution';
import { Dense, Relu, type Layer, type Parameter } from './trainer/layers';
import type { Random } from './trainer/random';

/** A network to train, and its ONNX form with the parameters' present values. */
export interface Network {
  readonly layers: readonly Layer[];
  /** The model for ONNX opset 17: `image` (float32, [batch, …]) to `logits` (float32, [batch, 10]). */
  toOnnx(): ModelProto;
}

/**
 * The perceptron 784-500-300-10 with ReLU. As PyTorch exports it: each layer a Gemm with transB = 1 and the
 * weight stored outputs × inputs.
 */
export function mnistMlp(maxBatch: number, random: Random): Network {
  const fc1 = new Dense('fc1', 784, 500, maxBatch, random);
  const fc2 = new Dense('fc2', 500, 300, maxBatch, random);
  const fc3 = new Dense('fc3', 300, 10, maxBatch, random);
  const relu = (name: string, size: number): Relu => new Relu(name, size, maxBatch);

  return {
    layers: [fc1, relu('relu1', 500), fc2, relu('relu2', 300), fc3],
    toOnnx: () => {
      const graph = new GraphBuilder();
      let value = graph.gemm('image', fc1, true);
      value = graph.apply('Relu', value, 'relu1');
      value = graph.gemm(value, fc2, true);
      value = graph.apply('Relu', value, 'relu2');
      graph.gemm(value, fc3, true, 'logits');
      return graph.model('mnist_mlp', [784]);
    },
  };
}

/**
 * A small convolutional network: two times 5 × 5 convolution, ReLU and 2 × 2 max pool, then 512-320-100-10.
 *
 * Its dense layers have the forms that the perceptron's do not: fc1 is MatMul + Add with the weight in a
 * Constant node, fc2 a Gemm with transB = 0, fc3 MatMul + Add with the weight an initializer.
 */
export function mnistCnn(maxBatch: number, random: Random): Network {
  const image: Planes = { channels: 1, side: 28 };
  const conv1 = new Convolution('conv1', image, 8, 5, maxBatch, random);
  const pool1 = new MaxPool('pool1', conv1.outputPlanes, maxBatch);
  const conv2 = new Convolution('conv2', pool1.outputPlanes, 32, 5, maxBatch, random);
  const pool2 = new MaxPool('pool2', conv2.outputPlanes, maxBatch);
  const fc1 = new Dense('fc1', pool2.outputSize, 320, maxBatch, random);
  const fc2 = new Dense('fc2', 320, 100, maxBatch, random);
  const fc3 = new Dense('fc3', 100, 10, maxBatch, random);
  const relu = (name: string, { outputSize }: Layer): Relu => new Relu(name, outputSize, maxBatch);
  const convolutions = [conv1, relu('relu1', conv1), pool1, conv2, relu('relu2', conv2), pool2];

  return {
    layers: [...convolutions, fc1, relu('relu3', fc1), fc2, relu('relu4', fc2), fc3],
    toOnnx: () => {
      const graph = new GraphBuilder();
      let value = graph.convolution('image', conv1);
      value = graph.apply('Relu', value, 'relu1');
      value = graph.maxPool(value, 'pool1');
      value = graph.convolution(value, conv2);
      value = graph.apply('Relu', value, 'relu2');
      value = graph.maxPool(value, 'pool2');
      value = graph.apply('Flatten', value, 'flatten');
      value = graph.matMulAdd(value, fc1, 'constant');
      value = graph.apply('Relu', value, 'relu3');
      value = graph.gemm(value, fc2, false);
      value = graph.apply('Relu', value, 'relu4');
      graph.matMulAdd(value, fc3, 'initializer', 'logits');
      return graph.model('mnist_cnn', [1, 28, 28]);
    },
  };
}

/** Collects nodes and weights; nodes and values are named as PyTorch's exporter does: /fc1/Gemm, fc1.weight. */
class GraphBuilder {
  private readonly nodes: NodeProto[] = [];
  private readonly initializers: TensorProto[] = [];

  /** Adds a node /`scope`/`opType` with one output, and returns that output's name. */
  apply(
    opType: string,
    input: string | string[],
    scope: string,
    attributes: Parameters<typeof node>[3] = {},
    output = `/${scope}/${opType}_output_0`,
  ): string {
    const inputs = typeof input === 'string' ? [input] : input;
    this.nodes.push(node(opType, inputs, [output], { name: `/${scope}/${opType}`, ...attributes }));
    return output;
  }

  convolution(input: string, { name, weight, bias, inputPlanes, filters, kernel }: Convolution): string {
    const w = this.initializer(weight, [filters, inputPlanes.channels, kernel, kernel]);
    const size = BigInt(kernel);
    const attributes = { kernel_shape: [size, size], strides: [1n, 1n], pads: [0n, 0n, 0n, 0n] };
    return this.apply('Conv', [input, w, this.initializer(bias, [filters])], name, { attributes });
  }

  maxPool(input: string, scope: string): string {
    return this.apply('MaxPool', input, scope, { attributes: { kernel_shape: [2n, 2n], strides: [2n, 2n] } });
  }

  /** The weight is stored outputs × inputs with transB = 1 if `transposed`, else inputs × outputs with 0. */
  gemm(input: string, layer: Dense, transposed: boolean, output?: string): string {
    const { name, weight, bias, inputSize, outputSize } = layer;
    const w = transposed
      ? this.initializer({ name: weight.name, value: transpose(layer) }, [outputSize, inputSize])
      : this.initializer(weight, [inputSize, outputSize]);
    const attributes = { alpha: 1, beta: 1, transB: transposed ? 1n : 0n };
    return this.apply('Gemm', [input, w, this.initializer(bias, [outputSize])], name, { attributes }, output);
  }

  /** MatMul, then Add of the bias; the weight, inputs × outputs, is an initializer or a Constant node's value. */
  matMulAdd(input: string, layer: Dense, weightIn: 'constant' | 'initializer', output?: string): string {
    const { name, weight, bias, inputSize, outputSize } = layer;
    const shape = [inputSize, outputSize];
    const w =
      weightIn === 'initializer'
        ? this.initializer(weight, shape)
        : this.apply(
            'Constant',
            [],
            name,
            { attributes: { value: tensor('', shape, weight.value) } },
            weight.name,
          );
    const product = this.apply('MatMul', [input, w], name);
    return this.apply('Add', [product, this.initializer(bias, [outputSize])], name, {}, output);
  }

  model(name: string, imageShape: readonly number[]): ModelProto {
    return create(ModelProtoSchema, {
      // IR version 8 came with opset 17's generation (ONNX 1.12).
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      producerName: 'vertexq scripts/models/train-mnist.ts',
      graph: {
        name,
        node: this.nodes,
        initializer: this.initializers,
        input: [valueInfo('image', DataType.FLOAT, ['batch', ...imageShape])],
        output: [valueInfo('logits', DataType.FLOAT, ['batch', 10])],
      },
    });
  }

  private initializer({ name, value }: Pick<Parameter, 'name' | 'value'>, shape: readonly number[]): string {
    this.initializers.push(tensor(name, shape, value));
    return name;
  }
}

/** The layer's weight as outputs × inputs. */
function transpose({ weight, inputSize, outputSize }: Dense): Float32Array {
  const transposed = new Float32Array(weight.value.length);
  for (let i = 0; i < inputSize; i++) {
    for (let j = 0; j < outputSize; j++) transposed[j * inputSize + i] = weight.value[i * outputSize + j]!;
  }
  return transposed;
}
