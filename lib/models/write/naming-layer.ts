import { located } from '../../errors';
import type { Store } from './stored-weight';

/** A store whose errors name the layer. */
export function namingLayer(store: Store): Store {
  return (layer, quantized, names) => {
    try {
      return store(layer, quantized, names);
    } catch (error) {
      throw located(`layer "${layer.name}"`, error);
    }
  };
}
