import { create } from '@bufbuild/protobuf';
import { type ModelProto, StringStringEntryProtoSchema, type ValueInfoProto } from './onnx_pb';
import { runtimeNameOf } from './element-types';

/** A graph input or output. Dimensions: a number, a symbolic name, or null where nothing is said. */
export interface DescribedValue {
  name: string;
  /** The runtime's name of the element type, e.g. `float32`; `unknown` for what is no tensor. */
  type: string;
  /** null where the rank is not given. */
  dims: (number | string | null)[] | null;
}

export function describeValue(value: ValueInfoProto): DescribedValue {
  if (value.type?.value.case !== 'tensorType') return { name: value.name, type: 'unknown', dims: null };
  const { elemType, shape } = value.type.value.value;
  return {
    name: value.name,
    type: runtimeNameOf(elemType),
    dims:
      shape?.dim.map(({ value: dim }) =>
        dim.case === 'dimValue'
          ? Number(dim.value)
          : dim.case === 'dimParam' && dim.value !== ''
            ? dim.value
            : null,
      ) ?? null,
  };
}

/** Sets entries of the model's metadata. */
export function addMetadata(model: ModelProto, entries: Record<string, string>): void {
  model.metadataProps = model.metadataProps.filter(({ key }) => !Object.hasOwn(entries, key));
  for (const [key, value] of Object.entries(entries))
    model.metadataProps.push(create(StringStringEntryProtoSchema, { key, value }));
}
