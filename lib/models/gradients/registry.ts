import { isStandard } from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import type { Rule } from './rule';
import { attention } from './rules/attention';
import { elementwise } from './rules/elementwise';
import { movement } from './rules/movement';
import { normalisations } from './rules/normalisations';
import { products } from './rules/products';
import { reductions } from './rules/reductions';
import { windows } from './rules/windows';

/** By operator: its name, behind its domain where that is not ONNX's own. */
export const rules: Readonly<Record<string, Rule>> = {
  ...products,
  ...elementwise,
  ...reductions,
  ...movement,
  ...normalisations,
  ...windows,
  ...attention,
};

/** Operators whose outputs are integers, conditions or the same for almost all numbers around: nothing flows back through them. */
const flat: ReadonlySet<string> = new Set([
  ...[
    'Shape',
    'Size',
    'NonZero',
    'ArgMax',
    'ArgMin',
    'Equal',
    'Greater',
    'Less',
    'GreaterOrEqual',
    'LessOrEqual',
  ],
  ...[
    'Not',
    'And',
    'Or',
    'Xor',
    'IsNaN',
    'IsInf',
    'Sign',
    'Floor',
    'Ceil',
    'Round',
    'ConstantOfShape',
    'EyeLike',
  ],
  ...['RandomNormalLike', 'RandomUniformLike', 'Bernoulli', 'Multinomial', 'NonMaxSuppression', 'Hardmax'],
]);

export const operatorOf = (node: NodeProto) =>
  isStandard(node) ? node.opType : `${node.domain}.${node.opType}`;

export function ruleOf(node: NodeProto): Rule | undefined {
  const operator = operatorOf(node);
  return Object.hasOwn(rules, operator) ? rules[operator] : undefined;
}

export const isFlat = (node: NodeProto) => isStandard(node) && flat.has(node.opType);
