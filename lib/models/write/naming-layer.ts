import { located } from '../../errors';
import type { Store } from './stored-weight';

/** A store whose errors name the layer. */
export function namingLayer(store: Store): Store {
  return async (layer, quantized, names, signal) => {
    try {
      return await store(layer, quantized, names, signal);
    } catch (error) {
      throw located(`layer "${layer.name}"`, error);
    }
  };
}
