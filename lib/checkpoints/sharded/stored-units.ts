import { VertexqError } from '../../errors';
import type { Kernels } from '../../environment';
import type { Shared } from '../../native/shared';
import { isObject } from '../../realms';
import type { Facts, UnitSource } from '../make-unit';
import type { ShardPlan } from '../plan';
import { layerName, type PlannedWeight } from '../planned-weight';
import { weightsOf } from '../round-batch';
import type { Unit } from '../units';
import type { UnitStore } from './unit-store';

/** Takes the bytes of units from their results, and those that are only copied from the input. */
export class StoredUnits implements UnitSource {
  /** The kernels of results that were made by others than the plan's: as they are told. */
  readonly others = new Set<string>();

  /** `keys`: of results, by what journals call units. */
  constructor(
    private readonly store: UnitStore,
    private readonly keys: ReadonlyMap<string, string>,
    private readonly planned: Kernels,
  ) {}

  async make(plan: ShardPlan, unit: Unit, journalKey: string, output: Shared): Promise<Facts> {
    if (unit.kind === 'copy') {
      await plan.source.fill(output, unit.position);
      return null;
    }
    const key = this.keys.get(journalKey)!;
    const found = await this.store.read(key, output);
    const facts = found && factsOf(unit, found.facts);
    if (!facts) throw damaged(this.store, key, unit);
    const { blas, simd } = found.kernels;
    if (blas !== this.planned.blas || simd !== this.planned.simd) this.others.add(`${blas} and ${simd}`);
    return facts;
  }
}

/** ERR_VERTEXQ_INCOMPLETE at the result of a unit. */
export const damaged = (store: UnitStore, key: string, unit: Unit): VertexqError =>
  new VertexqError(
    'ERR_VERTEXQ_INCOMPLETE',
    `The result of ${unitName(unit)} is missing or damaged: ${store.pathOf(key)}. "vertexq work" makes it anew`,
  );

/** As messages name it. */
export function unitName(unit: Unit): string {
  if (unit.kind === 'batch')
    return `${unit.pieces.length} tensors from ${JSON.stringify(unit.pieces[0] && firstName(unit))} on`;
  if (unit.kind === 'copy') return 'bytes that are copied';
  const name = JSON.stringify(unit.weight.name);
  return unit.kind === 'rows' ? `rows ${unit.begin} to ${unit.end} of ${name}` : name;
}

const firstName = (unit: Unit & { kind: 'batch' }) => weightsOf(unit)[0]?.name ?? '';

/** What a result says that its unit found; undefined where no unit of this kind finds such. */
export function factsOf(unit: Unit, facts: unknown): Facts | undefined {
  if (unit.kind === 'copy' || !isObject(facts)) return undefined;
  const isOne =
    unit.kind === 'rows'
      ? ['error', 'signal', 'zeroedGroups', 'seconds'].every((name) => isNumber(facts[name]))
      : unit.kind === 'batch'
        ? isNumber(facts['seconds']) &&
          Array.isArray(facts['sums']) &&
          facts['sums'].length === 3 * weightsOf(unit).length &&
          facts['sums'].every(isNumber)
        : isReport(facts['report'], unit.weight);
  return isOne ? (facts as unknown as Facts) : undefined;
}

const isNumber = (value: unknown) => typeof value === 'number' && value >= 0;
const isNumberOrNull = (value: unknown) => value === null || typeof value === 'number';
const areErrors = (value: unknown): value is Record<string, unknown> =>
  isObject(value) && isNumberOrNull(value['calibration']) && isNumberOrNull(value['holdout']);

const isExpert = (value: unknown) =>
  isObject(value) && isNumber(value['rows']) && ['own', 'all'].includes(String(value['fittedTo']));

/** Whether a value is the report of this weight's fit, as far as tables and pages look into it. */
function isReport(report: unknown, weight: PlannedWeight): boolean {
  if (!isObject(report)) return false;
  const { error, warnings, shape } = report;
  return (
    report['name'] === layerName(weight) &&
    JSON.stringify(shape) === JSON.stringify(weight.shape) &&
    ['kind', 'method'].every((name) => typeof report[name] === 'string') &&
    ['bits', 'groupSize', 'samples', 'rank', 'freeEntries', 'seconds'].every((name) =>
      isNumber(report[name]),
    ) &&
    ['sqnrDb', 'sphereGapDb', 'passes', 'walked', 'damping', 'bound'].every((name) =>
      isNumberOrNull(report[name]),
    ) &&
    (report['fellBackFrom'] === null || typeof report['fellBackFrom'] === 'string') &&
    (report['weighted'] === null ||
      (weight.inNetwork && areErrors(report['weighted']) && isNumber(report['weighted']['effectiveRows']))) &&
    !('tuned' in report) &&
    (!('expert' in report) || (weight.inNetwork && isExpert(report['expert']))) &&
    isObject(error) &&
    areErrors(error) &&
    areErrors(error['own']) &&
    (error['againstFloat'] === null || areErrors(error['againstFloat'])) &&
    typeof error['weight'] === 'number' &&
    Array.isArray(warnings) &&
    warnings.every((warning) => typeof warning === 'string')
  );
}
