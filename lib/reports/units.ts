// How numbers look to people: a few digits and a unit. What has no value is a dash.

const none = '–';
const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `bytes` in decimal units: `845 B`, `12.3 MB`. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return none;
  let unit = 0;
  let value = bytes;
  // 999.5 would be shown as 1000.
  while (unit < byteUnits.length - 1 && Math.abs(value) >= (unit === 0 ? 1000 : 999.5)) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : threeDigits(value)} ${byteUnits[unit]}`;
}

/** `seconds` as `45 ms`, `3.2 s`, `5 min 20 s`, `2 h 05 min`. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return none;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${twoDigits(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
}

/** A ratio in percent, to three digits: `0.0123 %`, `4.56 %`, `123 %`. */
export function formatPercent(ratio: number | null): string {
  if (ratio === null || Number.isNaN(ratio)) return none;
  if (!Number.isFinite(ratio)) return `${ratio < 0 ? '−' : ''}∞ %`;
  const percent = 100 * ratio;
  if (percent !== 0 && Math.abs(percent) < 1e-4) return `${percent.toExponential(1)} %`;
  return `${threeDigits(percent)} %`;
}

/** The same in a column, whose numbers are to be compared: to a hundredth, and to three digits where less than a tenth. */
export function percentCell(ratio: number | null): string {
  const percent = ratio === null ? NaN : 100 * Math.abs(ratio);
  return percent >= 0.0995 && Number.isFinite(percent)
    ? `${(100 * ratio!).toFixed(2)} %`
    : formatPercent(ratio);
}

export function formatDecibels(decibels: number | null): string {
  return decibels === null || !Number.isFinite(decibels) ? none : `${decibels.toFixed(1)} dB`;
}

/** A number of things, `null` and NaN as a dash; fractions to three digits. */
export function formatCount(count: number | null): string {
  if (count === null || !Number.isFinite(count)) return none;
  return Number.isInteger(count) ? String(count) : threeDigits(count);
}

/** Three significant digits, but all before the point, and no exponent. */
function threeDigits(value: number): string {
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const digits = Math.min(20, Math.max(0, 2 - magnitude));
  const text = value.toFixed(digits);
  // 9.996 becomes 10.00: a digit more than was asked for.
  return digits > 0 && text.replace(/^-?0\.0*|[-.]/g, '').length > 3 ? value.toFixed(digits - 1) : text;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

/** `1 layer`, `3 layers`. */
export function plural(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}
