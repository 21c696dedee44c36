import { blockLayout } from '../encodings/gguf/encoding';
import type { GgufType } from '../encodings/gguf/table';
import type { WeightLayout } from '../encodings/safetensors/layout';
import type { FloatDtype } from '../containers/safetensors/dtypes';
import type { LayerSettings } from '../fit/layer-settings';
import { fitOverridden, type Override, overrideFinder } from '../overrides';
import { type CheckpointSettings, weightSettings } from './checkpoint-options';
import type { RecordedInput, RecordedInputs } from './recorded-inputs';
import type { Matrix } from '../encodings/safetensors/matrices';
import { formsOf, moduleOf } from '../encodings/safetensors/tensor-names';

/** All that weights of one shape, dtype and settings have in common: there may be very many of them. */
export interface WeightScheme {
  dtype: FloatDtype;
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
  /** As a matrix has it. */
  stride: number;
  settings: LayerSettings;
  /** As readers are told: a group as wide as the layer, a scale per channel, has the size Infinity. */
  told: LayerSettings;
  layout: WeightLayout;
  /** The same for weights that one native job can round: those that differ in their shapes, and what follows from them, alone. */
  kind: string;
}

/** A weight on its way to few bits. */
export class PlannedWeight {
  /** Among all weights of the plan. */
  index = -1;
  /** Heads of whose rows a GGUF file has pairs, and the network halves; null where both have the same order. */
  heads: number | null = null;
  /** What the square of each input's error counts, of several matrices one behind the other; null for all alike. */
  importance: Float32Array | null = null;

  constructor(
    readonly name: string,
    /** What holds it: a tensor of its name, or one of several experts. */
    readonly tensor: string,
    /** Where it begins in its file. */
    readonly position: number,
    readonly scheme: WeightScheme,
    /** What the layer sees; null where nothing was recorded. */
    readonly recorded: RecordedInput | null,
    /** Whether the checkpoint's own network tells what the layer sees. */
    readonly inNetwork: boolean,
  ) {}

  /** Whether it is fitted to data. */
  get isFitted(): boolean {
    return this.recorded !== null || this.inNetwork;
  }

  get dtype(): FloatDtype {
    return this.scheme.dtype;
  }

  get shape(): readonly [number, number] {
    return this.scheme.shape;
  }

  get stride(): number {
    return this.scheme.stride;
  }

  get settings(): LayerSettings {
    return this.scheme.settings;
  }

  get layout(): WeightLayout {
    return this.scheme.layout;
  }
}

/** Whether a tensor remains what it is, with other values: parts of it have no tensors of their own. */
export const staysOne = ([first]: readonly PlannedWeight[]): boolean => first!.layout.codes.suffix === null;

/** The name in reports. */
export const layerName = ({ name }: Pick<PlannedWeight, 'name'>) => moduleOf(name);

/** Makes weights, with one scheme for all that are alike. */
export class WeightPlanner {
  private readonly schemes = new Map<string, WeightScheme>();
  private readonly known = new Map<string, Pick<WeightScheme, 'settings' | 'told'>>();
  private readonly overridesOf: (tensor: string) => readonly Override[];

  constructor(
    private readonly settings: CheckpointSettings,
    private readonly recorded: RecordedInputs | null,
    /** Weights of layers whose network is run. */
    private readonly inNetwork: (name: string) => boolean,
  ) {
    this.overridesOf = overrideFinder(settings.overrides, formsOf);
  }

  /** A weight in a tensor; `block`: what it becomes in a GGUF file. Throws a TypeError or RangeError where its overrides do not fit. */
  of({ name, dtype, shape, position, stride }: Matrix, tensor: string, block?: GgufType): PlannedWeight {
    const [outFeatures, inFeatures] = shape;
    const input = this.recorded?.of(name, inFeatures) ?? null;
    const own = this.overridesOf(tensor);
    const inNetwork = this.inNetwork(name);
    const hasData = input !== null || inNetwork;
    const fitted = [hasData, block?.name, ...own.map(({ place }) => place)].join();
    const key = `${dtype} ${outFeatures} ${inFeatures} ${stride} ${fitted}`;
    let scheme = this.schemes.get(key);
    if (!scheme) {
      const { settings, told } = fitOverridden(`tensor "${tensor}"`, own, () =>
        this.settingsOf(own, inFeatures, hasData, fitted, block),
      );
      const layout = block
        ? blockLayout(block, shape)
        : this.settings.encoding.layout(shape, dtype as FloatDtype, settings);
      const kind = `${dtype} ${fitted}`;
      scheme = { dtype: dtype as FloatDtype, shape, stride, settings, told, layout, kind };
      this.schemes.set(key, scheme);
    }
    return new PlannedWeight(name, tensor, position, scheme, input, inNetwork);
  }

  /** One object for all that have the same: of some that differ in their widths, too. */
  private settingsOf(
    own: readonly Override[],
    inFeatures: number,
    hasData: boolean,
    fitted: string,
    block: GgufType | undefined,
  ): Pick<WeightScheme, 'settings' | 'told'> {
    const key = `${inFeatures} ${fitted}`;
    const known = this.known.get(key);
    if (known) return known;
    const settings = { ...weightSettings(this.settings, own, inFeatures, hasData), ...block?.settings };
    const told = settings.groupSize === inFeatures ? { ...settings, groupSize: Infinity } : settings;
    this.known.set(key, { settings, told });
    return { settings, told };
  }
}
