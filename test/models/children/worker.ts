// Quantizes a model in a worker; `workerData` are the paths.
import { parentPort, workerData } from 'node:worker_threads';
import { quantizeOnData } from './network';

const { input, output } = workerData as { input: string; output: string };
parentPort?.postMessage('started');
void quantizeOnData(input, output).then(({ layers }) => parentPort?.postMessage(layers.length));
