interface Row {
  /** What is warned of, and by what it may come. */
  cause: string;
  remedy: string;
}

/** Every code of a warning. They are stable; docs/errors.md is written from here, and `vertexq explain` tells them. */
export const warningCodes = {
  WARN_VERTEXQ_ABOVE_TARGET: {
    cause:
      'The files are larger than the target: some products are written in another way than was foreseen, which only data tells.',
    remedy: 'Give a target that is smaller by what the message tells.',
  },
  WARN_VERTEXQ_ALL_ZERO: {
    cause:
      'All weights of a tensor have become 0, and its error is 100 %: they are smaller than what the scales of this format can tell from 0 (float16: about 6e-8).',
    remedy:
      'Leave the tensor out (--skip), take a format with scales of float32, or see whether weights so small do anything at all.',
  },
  WARN_VERTEXQ_BELOW_RESOLUTION: {
    cause:
      'An error is so small that the sums of products (a Gram matrix) do not tell it: subtracting large sums leaves rounding alone.',
    remedy: 'Take the bound that the message tells, or give rows ("activations") instead of a Gram matrix.',
  },
  WARN_VERTEXQ_BELOW_TARGET: {
    cause:
      'The output is more than 1 % smaller than the target: all layers have their best width, or no wider one fits in what is left.',
    remedy: 'Nothing need be done. A smaller target may give the same; a larger one another width.',
  },
  WARN_VERTEXQ_CHANNELS_ALONE: {
    cause: 'How errors of output channels go together ("weighting") is not known for some layers.',
    remedy: 'Nothing need be done: the layer is fitted as without.',
  },
  WARN_VERTEXQ_CROSS_GRAM: {
    cause:
      'The error on the calibration rows is larger than that of weights of 0: "crossGram" is not of the same rows as "gram", or is turned round.',
    remedy:
      'Compute "crossGram" as X̃ᵀX, X̃ being what the quantized layer will see, from the rows that "gram" is of.',
  },
  WARN_VERTEXQ_DATA_LEFT_OUT: {
    cause:
      'The network takes a fixed number of samples or tokens at once, and what is left over is not used.',
    remedy: 'Give a multiple of that number, or export the network with a free batch.',
  },
  WARN_VERTEXQ_DEQUANTIZED_FIRST: {
    cause:
      'The input has tensors in few bits already. They are dequantized before they are quantized again, and what they had lost stays lost.',
    remedy: 'Quantize from a file in F16, BF16 or F32.',
  },
  WARN_VERTEXQ_FED_WEIGHTS: {
    cause:
      'Weights of the network are inputs too, so that a caller may feed others. The quantized network has its own alone.',
    remedy: 'Nothing, where nobody feeds them; else leave the layer out (--skip).',
  },
  WARN_VERTEXQ_FELL_BACK: {
    cause:
      'Plain rounding took the place of the method, which was no better on the held-out rows, or had too few rows to fit to.',
    remedy: 'Give more calibration data, of the kind that the network will see.',
  },
  WARN_VERTEXQ_FEW_ROWS: {
    cause:
      'There are fewer than twice as many calibration rows as the layer has inputs. A fit to few rows follows their noise.',
    remedy:
      'Give as many rows as the message tells. A row is a sample for products, a token for language models, a patch for convolutions.',
  },
  WARN_VERTEXQ_FEW_TOKENS: {
    cause: 'There are few tokens to judge, and perplexities of few tokens vary much.',
    remedy: 'Give more text, or look at the standard errors.',
  },
  WARN_VERTEXQ_NOT_COPIED: {
    cause:
      'Some files of the folder were not copied to the output: they are too large, no plain files, links that lead out of the folder, or have a name of vertexq.',
    remedy: 'Copy by hand what the output needs.',
  },
  WARN_VERTEXQ_NOT_FINITE: {
    cause: 'An output has NaN or infinite numbers. The rows that have them are not in its errors.',
    remedy:
      'Where they are in the float network too, look at the data. Where they are in the quantized one alone, give that network more bits or other layers.',
  },
  WARN_VERTEXQ_NOT_FITTED: {
    cause: 'The data does not reach some weights, which are rounded by themselves.',
    remedy: 'Give data for them, or leave it so: the others are fitted.',
  },
  WARN_VERTEXQ_NOT_QUANTIZED: {
    cause: 'Some weights stay as they are, although they were chosen: the format does not hold their shape.',
    remedy:
      'Take a "groupSize" that divides their inputs, or another format. docs/checkpoints.md has what each holds.',
  },
  WARN_VERTEXQ_NO_CONFIG: {
    cause: 'There is no config.json in which loaders find how the weights are quantized.',
    remedy: 'Give the folder of the model, not its file alone.',
  },
  WARN_VERTEXQ_NO_DATA: {
    cause: 'There is no calibration data: weights are rounded by themselves.',
    remedy: 'Give --calibration, which lowers the error of the outputs by much (docs/quality.md).',
  },
  WARN_VERTEXQ_NO_EFFECT: {
    cause: 'An option changes nothing, for the data or the method is of another kind.',
    remedy: 'Leave the option out, or give the data or the method that it is for.',
  },
  WARN_VERTEXQ_NO_FLOAT_ERROR: {
    cause:
      "A layer's rows cannot be laid beside those of the float network, so that its error is told on the inputs it sees alone.",
    remedy: 'Look at the error of the outputs ("vertexq eval"), which tells everything together.',
  },
  WARN_VERTEXQ_NO_FLOAT_OUTPUT: {
    cause: 'The network gives whole numbers alone, such as labels, whose error is not told in per cent.',
    remedy: 'Compare with "score", or with a network that ends before the labels.',
  },
  WARN_VERTEXQ_NO_HOLDOUT: {
    cause:
      'There are too few samples to hold some out, and errors on the data of the fit are lower than on other data.',
    remedy: 'Give more samples, or data of its own as "holdout".',
  },
  WARN_VERTEXQ_NO_LOCKS: {
    cause:
      'The file system that the output goes to has no locks (flock): two runs that write the same output would not notice each other.',
    remedy: 'See that one run alone writes the output, or write to a local disk and copy it.',
  },
  WARN_VERTEXQ_OTHER_KERNELS: {
    cause:
      'A run was gone on with where other kernels compute (another processor, another OpenBLAS), as --other-kernels allows.',
    remedy: 'Nothing, unless outputs must be the same to the last bit: then start anew.',
  },
  WARN_VERTEXQ_OUTPUT_LEFT_OUT: {
    cause: 'The networks differ in an output, or it is no tensor: it is not in the numbers.',
    remedy: 'Nothing, where it does not matter; else compare networks that give the same outputs.',
  },
  WARN_VERTEXQ_OVERFIT: {
    cause:
      'The error on held-out rows is more than twice that of the fit: the fit follows its rows more than what they have in common.',
    remedy: 'Give more calibration rows, as unlike each other as what the network will see.',
  },
  WARN_VERTEXQ_QUANTIZED_ALREADY: {
    cause:
      'Some weights of the checkpoint are quantized already. They stay so, and the new config does not tell of them.',
    remedy: 'Quantize the float checkpoint, if there is one.',
  },
  WARN_VERTEXQ_READER: {
    cause: 'Some reader of this format does not take what will be written.',
    remedy:
      'See docs/readers.md, which has who reads what, and take other bits, another grid or another format.',
  },
  WARN_VERTEXQ_ROWS_ALIKE: {
    cause:
      'The weights of rows or inputs ("weighting", an importance matrix) are not known for some layers: all count alike there.',
    remedy: 'Nothing need be done: the layer is fitted as without weights.',
  },
  WARN_VERTEXQ_SKIPPED_DATA: {
    cause:
      'Some images or lines of the data cannot be read, and were left out, as --skip-broken ("skipBroken") allows. The message names them.',
    remedy: 'Nothing, where they are few; else mend or remove them.',
  },
  WARN_VERTEXQ_SOME_ROWS: {
    cause:
      'A convolution sees more patches than a fit needs, and was fitted to some, spread over all samples.',
    remedy: 'Nothing need be done.',
  },
  WARN_VERTEXQ_OVER_TIME: {
    cause:
      'A run took longer than --time ("time") allows: all but the passes of vertex takes that long, or what follows the fits took longer than it looked.',
    remedy: 'Give more time, the method gptq (--preset fast), or less calibration data.',
  },
  WARN_VERTEXQ_TAKEN_OVER: {
    cause:
      'A worker on a plan that is fitted to text waited for parts of others, and for half a minute none of these was heard of: they had not begun, or were killed. It did their parts too.',
    remedy:
      'Nothing need be done: the output is the same, and a worker that comes back does no harm. Give a plan as many --parts as workers are at it at once.',
  },
  WARN_VERTEXQ_TOKENIZER: {
    cause: 'The library that reads tokenizers had something to say of this one.',
    remedy: 'See whether texts become the tokens that they should ("samples" of a few lines).',
  },
  WARN_VERTEXQ_TYPE_FALLBACK: {
    cause:
      'Some tensors have rows that are no whole blocks of the GGUF type asked for, and get the type that the message names.',
    remedy: 'Nothing need be done: llama.cpp does the same. The size changes by what the message tells.',
  },
  WARN_VERTEXQ_UNEVEN_HOLDOUT: {
    cause:
      'More is held out than was asked for, or the end of a single document is: what is held out is not cut through.',
    remedy: 'Give more documents or batches, or data of its own as "holdout".',
  },
  WARN_VERTEXQ_UNKNOWN_KEYS: {
    cause: 'config.json has keys that are not known for this architecture, and are left out of account.',
    remedy:
      'See whether one of them changes what the network computes. If so, its outputs here are not what they should be.',
  },
  WARN_VERTEXQ_UNTIED: {
    cause:
      'The head is quantized and the embedding, which was the same tensor, is not: the output has both, and config.json says so.',
    remedy: 'Leave the head out (--skip) to keep them one.',
  },
  WARN_VERTEXQ_UNUSED_DATA: {
    cause: 'Some of the data is for weights that are not quantized, or not there.',
    remedy: 'See whether names are as they should be; else nothing.',
  },
  WARN_VERTEXQ_WIDER_BITS: {
    cause: 'Codes of more bits would take as many bytes in this format, and be nearer to the float weights.',
    remedy: 'Give the "bits" that the message tells.',
  },
  WARN_VERTEXQ_WINDOW_LOST: {
    cause:
      'Blocks of the network see the last tokens alone, which a GGUF file of its architecture cannot tell.',
    remedy: 'Keep contexts in llama.cpp below that number of tokens.',
  },
  WARN_VERTEXQ_ZERO_GROUPS: {
    cause:
      'All weights of some groups (or rows, where each has one scale) have become 0, although they were not: they are smaller than what the scales of this format can tell from 0 (float16: about 6e-8; in K types of GGUF files much smaller than others of their block), or the calibration rows do not reach them.',
    remedy:
      'Nothing, where the error of the outputs is small. Else take more bits, a format with scales of float32, or leave the tensor out (--skip).',
  },
  WARN_VERTEXQ_ZERO_OUTPUTS: {
    cause:
      "The float layer's outputs on the rows are all 0, so that there is nothing to fit to, or no error to take a share of.",
    remedy:
      'See whether the data reaches the layer: inputs that are all 0, or a part of the network that nothing feeds.',
  },
} as const satisfies Readonly<Record<`WARN_VERTEXQ_${string}`, Row>>;

/** The stable code of a warning. */
export type VertexqWarningCode = keyof typeof warningCodes;

/** A sentence, and at its end its VertexqWarningCode in brackets. Made by `warn` alone. */
export type Warning = `${string} [WARN_VERTEXQ_${string}]`;

export const warn = (code: VertexqWarningCode, text: string): Warning => `${text} [${code}]`;

const atEnd = / \[(WARN_VERTEXQ_[A-Z_]+)\]$/;

/** The code of a warning; null where it has none that this version knows. */
export function codeOf(warning: string): VertexqWarningCode | null {
  const code = atEnd.exec(warning)?.[1];
  return code !== undefined && isWarningCode(code) ? code : null;
}

export const isWarningCode = (code: unknown): code is VertexqWarningCode =>
  typeof code === 'string' && Object.hasOwn(warningCodes, code);
