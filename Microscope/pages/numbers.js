// Numbers as text, and text as cells of a table that no spreadsheet takes for a formula.

/** A number with three significant digits, or two decimals and a thousands separator; a dash for what is missing. */
export function shown(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value)) return whole(value);
  if (size >= 1000) return whole(Math.round(value));
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  if (size >= 0.001) return value.toFixed(3);
  return size === 0 ? "0" : value.toExponential(1);
}

export const whole = (value) => value.toLocaleString("en-US");
export const counted = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;

/** A percentile of 0 to 100, with as many decimals as its distance from the ends needs: 99.98, not 100. */
export function percentile(value) {
  const left = Math.min(value, 100 - value);
  return `${value.toFixed(left >= 1 || left === 0 ? 0 : left >= 0.1 ? 1 : left >= 0.01 ? 2 : 3)}%`;
}

const FORMULA = /^'*[=+\-@＝＋－＠\t\r\n]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Rows as CSV. */
export function csv(rows) {
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Distance between two words in letters changed, for "did you mean". */
export function distance(a, b) {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
    }
    row = next;
  }
  return row[b.length];
}

/** Numbers that look random and are always the same for a seed. */
export function randomFrom(seed) {
  let state = (seed >>> 0) + 0x6d2b79f5;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
