// Runs jobs in a worker: `workerData` is a layer's size and seed, or 'long' for work that does not end soon.
import { parentPort, workerData } from 'node:worker_threads';
import { digest, startLongJob } from './layer';

if (workerData === 'long') {
  startLongJob();
  parentPort?.postMessage('started');
} else {
  const { inFeatures, seed } = workerData as { inFeatures: number; seed: number };
  void digest(inFeatures, seed).then((answer) => parentPort?.postMessage(answer));
}
