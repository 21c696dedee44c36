/** What the program ends with, by cause. They are stable. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Input that is damaged, or not understood. */
  input: 3,
  /** Something is where the output goes, or another run is at it. */
  output: 4,
  /** There is nothing to quantize. */
  nothing: 5,
  /** Out of memory, disk or time. */
  resources: 6,
  /** By Ctrl-C: 128 and the number of its signal. */
  interrupted: 130,
} as const;

interface Row {
  /** What the program ends with. */
  exit: keyof typeof exitCodes;
  /** What has happened, and by what it may come. */
  cause: string;
  remedy: string;
}

/** Every code of a VertexqError. They are stable; docs/errors.md is written from here, and `vertexq explain` tells them. */
export const errorCodes = {
  ERR_VERTEXQ_ADDON: {
    exit: 'failed',
    cause:
      'The native addon is not there, or the system cannot load it: the package for this platform was left out, there is none and npm ran without install scripts, or a build lacks its OpenBLAS.',
    remedy:
      'Install vertexq without --omit=optional. Where there is no package for the platform, install a C++ compiler, CMake, OpenBLAS and LAPACKE and run "npm rebuild vertexq --ignore-scripts=false". "vertexq doctor" says what is there and what is missing.',
  },
  ERR_VERTEXQ_BUDGET: {
    exit: 'input',
    cause:
      'No choice of widths is as small as the target asks for: the weights that stay in floats, or the smallest width of all layers, take more already.',
    remedy:
      'Take the smallest size that the message tells, quantize more of the weights (embeddings, the head), or allow fewer bits.',
  },
  ERR_VERTEXQ_CALIBRATION: {
    exit: 'input',
    cause:
      'Calibration or evaluation data does not fit the network: a name, type or shape of an input, no rows, tokens that the vocabulary does not have, weights of rows that are negative.',
    remedy:
      '"vertexq inspect model.onnx" lists inputs with their types and shapes; the message names the file, the input and what was expected.',
  },
  ERR_VERTEXQ_CANCELLED: {
    exit: 'failed',
    cause: 'A native job was cancelled by another part of the same call, whose error is the one to look at.',
    remedy: 'None by itself. Aborts of your own signal reject with its reason instead.',
  },
  ERR_VERTEXQ_CONFIG: {
    exit: 'input',
    cause: 'The file of --config is no JSON, no object, or too large.',
    remedy: 'Give a JSON object of options by the names that docs/options.md has.',
  },
  ERR_VERTEXQ_DECODER: {
    exit: 'input',
    cause:
      'The checkpoint is no language model that this version can run: an architecture, activation or scaling of positions that it does not know, or a tensor that is missing or of another shape than config.json says.',
    remedy:
      'Without text every weight is rounded by itself ("--method msq"), for which nothing of the network needs to be known; recorded inputs ("--activations") need it neither.',
  },
  ERR_VERTEXQ_DOCTOR: {
    exit: 'failed',
    cause: '"vertexq doctor" found something without which nothing runs.',
    remedy: 'Its table says what, and what to do about each.',
  },
  ERR_VERTEXQ_EXISTS: {
    exit: 'output',
    cause: 'There is something at the output already that no interrupted run of ours has left.',
    remedy:
      'Give another output, remove it, or let it be replaced with --overwrite; --skip-existing takes it as done.',
  },
  ERR_VERTEXQ_FILE: {
    exit: 'failed',
    cause: 'A file or folder cannot be opened, read, written or renamed, or was changed while it was used.',
    remedy: 'The message has the path and what the system said (ENOENT, EACCES, ENOSPC …).',
  },
  ERR_VERTEXQ_FORMAT: {
    exit: 'failed',
    cause: 'The output format cannot hold what was asked for: a width, grid, group size or name.',
    remedy: 'Choose another "format", or what the message says that it holds.',
  },
  ERR_VERTEXQ_GGUF: {
    exit: 'input',
    cause: 'A GGUF file is damaged, or of a version, type or architecture that is not known.',
    remedy: 'Download it anew; docs/gguf.md says what is read.',
  },
  ERR_VERTEXQ_GRAM: {
    exit: 'input',
    cause:
      'A Gram matrix that was given is none: not symmetric, with a NaN, or with eigenvalues below 0 by more than rounding.',
    remedy: 'Sum XᵀX in float64, over the same rows in every entry.',
  },
  ERR_VERTEXQ_IMAGE: {
    exit: 'input',
    cause: 'An image cannot be decoded, or sharp, which decodes them, is not installed.',
    remedy:
      'The message names the image: remove it from the data. "npm install sharp" where that is missing.',
  },
  ERR_VERTEXQ_INCOMPLETE: {
    exit: 'failed',
    cause: '"vertexq finish" found that results of some of the plan\'s units are missing or damaged.',
    remedy:
      'Run "vertexq work" again for the shards that have not ended, or without --shard for all that is missing: what is done is not done again. Then "vertexq finish" (docs/fleet.md).',
  },
  ERR_VERTEXQ_INTERNAL: {
    exit: 'failed',
    cause: 'The program has contradicted itself: a fault of vertexq.',
    remedy: 'Report it, with the message and the command.',
  },
  ERR_VERTEXQ_JOB: {
    exit: 'input',
    cause:
      'What a queue holds is no job of this version of vertexq, or there is no such run in it; or the plan file that it is about has been changed.',
    remedy: 'Submit the plan anew ("vertexq submit"). "vertexq status" lists the runs of a queue.',
  },
  ERR_VERTEXQ_LOCKED: {
    exit: 'output',
    cause: 'Another run is writing the same output.',
    remedy: 'Wait for its end, or give another output.',
  },
  ERR_VERTEXQ_MEMORY: {
    exit: 'resources',
    cause:
      "The work has no room in memory: what is kept of the data grows with the square of a layer's inputs.",
    remedy:
      'Give fewer calibration rows or a smaller "memory", round the layer that the message names ("method": "msq" in an override), or take a machine with more.',
  },
  ERR_VERTEXQ_NOT_FINITE: {
    exit: 'input',
    cause: 'A weight, an activation or a number of the data is NaN or infinite.',
    remedy:
      'The message says where. In half precision activations overflow now and then: take the float32 network.',
  },
  ERR_VERTEXQ_NO_LAYERS: {
    exit: 'nothing',
    cause:
      'No weight is left to quantize: none is of a kind that is known, all are skipped by options, or none fits the format (its groups do not divide the inputs).',
    remedy:
      'Look at the reasons that the message gives, and at "vertexq inspect"; another --group-size or --format may hold them.',
  },
  ERR_VERTEXQ_NPY: {
    exit: 'input',
    cause: 'An .npy file is damaged, or its array of a type that is not read (objects, structured, complex).',
    remedy: 'Save it anew with numpy.save, of numbers.',
  },
  ERR_VERTEXQ_NPZ: {
    exit: 'input',
    cause: 'An .npz file is damaged, or holds other files than arrays.',
    remedy: 'Save it anew with numpy.savez.',
  },
  ERR_VERTEXQ_NUMERIC: {
    exit: 'failed',
    cause:
      'Numbers left the range of float64, or a matrix could not be factored: weights or activations of extreme size.',
    remedy: 'Raise "damping"; scale the data; or round the layer that the message names ("msq").',
  },
  ERR_VERTEXQ_ONNX: {
    exit: 'input',
    cause:
      'The ONNX file is damaged, or contradicts itself: a tensor shorter than its shape says, a circle in the graph, external data that is missing.',
    remedy: 'Export it anew; onnx.checker in Python says more.',
  },
  ERR_VERTEXQ_PLAN: {
    exit: 'input',
    cause:
      'A plan file is damaged or was changed, or does not fit: it is of another version of vertexq, of an input that has been written since, or of another kind of processor.',
    remedy:
      'Make the plan anew with "vertexq plan" where the input or the version has changed. For another processor the message says what to set in the environment, or that --other-kernels accepts bytes of both. docs/fleet.md has what is refused.',
  },
  ERR_VERTEXQ_QUEUE: {
    exit: 'failed',
    cause:
      'The queue cannot be used: Redis cannot be reached, refuses the password or has no memory left, or the packages for it are not installed.',
    remedy:
      'The message says which. See to VERTEXQ_REDIS_URL and VERTEXQ_REDIS_PASSWORD, to "maxmemory" and "maxmemory-policy noeviction", or install what it names.',
  },
  ERR_VERTEXQ_RESUME: {
    exit: 'output',
    cause:
      'The work of an interrupted run lies beside the output, and this run did not ask for it (--resume) or is another one: other options, data, input or processor.',
    remedy: 'Give --resume with the options of that run, or remove the folder that the message names.',
  },
  ERR_VERTEXQ_RUNTIME: {
    exit: 'failed',
    cause:
      'onnxruntime-node is not installed, or refuses the network or its inputs; its own message follows.',
    remedy:
      '"npm install onnxruntime-node", with ONNXRUNTIME_NODE_INSTALL=skip in the environment where nuget.org cannot be reached. Where it refuses the network, that is no valid one, or newer than the installed version.',
  },
  ERR_VERTEXQ_SAFETENSORS: {
    exit: 'input',
    cause:
      'A safetensors file or the index of a checkpoint is damaged, cut short, or names files that are not there.',
    remedy: 'Download it anew: the message says which file, and what was expected.',
  },
  ERR_VERTEXQ_SCALE_RANGE: {
    exit: 'failed',
    cause:
      'Weights are so large or so small that their scales leave the range of the type they are stored in.',
    remedy:
      'The message names the neuron. Scale the layer, leave it out (--skip), or take a format with scales of float32.',
  },
  ERR_VERTEXQ_SENSITIVITY: {
    exit: 'input',
    cause: 'A stored sensitivity is damaged, of another version, or of another network.',
    remedy: 'Measure it anew with "vertexq sensitivity".',
  },
  ERR_VERTEXQ_STRICT: {
    exit: 'failed',
    cause: 'The run has warnings, and --strict makes them fail. All was written.',
    remedy: 'Mend what the warnings tell ("vertexq explain" and their codes say how), or leave --strict out.',
  },
  ERR_VERTEXQ_THREADS: {
    exit: 'failed',
    cause: 'The system allows no more threads.',
    remedy: 'Give fewer "threads", or raise the limit of processes (ulimit -u, pids of the container).',
  },
  ERR_VERTEXQ_TIME: {
    exit: 'resources',
    cause:
      'Reading a file of the input takes longer than anything sound does: a tokenizer or an image made to take forever, or a machine that is very busy.',
    remedy: 'Look at the file that the message names; try again on a machine that is less busy.',
  },
  ERR_VERTEXQ_TOKENIZER: {
    exit: 'input',
    cause: 'tokenizer.json, or the chat template, is damaged or of a kind that is not known.',
    remedy:
      'Take the tokenizer of the model\'s own folder, or give tokens ("input_ids" in .npz) instead of text.',
  },
  ERR_VERTEXQ_UNSUPPORTED: {
    exit: 'input',
    cause: 'The network has something that this version does not do, which the message names.',
    remedy: 'Leave the layer out (--skip), or turn off the option that the message names.',
  },
  ERR_VERTEXQ_VERIFY: {
    exit: 'failed',
    cause: '"vertexq verify" found that a quantized file is not as it should be.',
    remedy: 'Quantize anew: the file was cut short or changed after it was written.',
  },
  ERR_VERTEXQ_WORKER: {
    exit: 'failed',
    cause: 'The process or thread that reads files or runs networks has ended, or cannot be started.',
    remedy: 'Where the system ended it, memory may be short (dmesg tells); else report it.',
  },
} as const satisfies Readonly<Record<`ERR_VERTEXQ_${string}`, Row>>;

/** The stable code of a VertexqError. */
export type VertexqErrorCode = keyof typeof errorCodes;

export const isErrorCode = (code: unknown): code is VertexqErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorCodes, code);
