// Small SVG charts. Each says in words what it shows; the numbers stand beside it as text.

import { s } from "./dom.js";
import { shown, whole } from "./numbers.js";

const clamp = (x) => Math.max(0, Math.min(1, x));
const text = (x, y, content, props = {}) => s("text", { x, y, class: "axis", ...props }, content);

/** A value from 0 to 1 on a line with its interval, chance (a tick) and the untrained network (a triangle). */
export function interval({ value, low, high, chance, untrained }, { domain = [0, 1], colour = "var(--accent)" } = {}) {
  const at = (v) => `${2 + clamp((v - domain[0]) / (domain[1] - domain[0])) * 96}%`;
  const known = (v) => v !== null && v !== undefined;
  return s("svg", { class: "interval", "aria-hidden": "true" },
    s("line", { x1: "2%", x2: "98%", y1: 11, y2: 11, class: "rule" }),
    known(low) && known(high) && s("line", { x1: at(low), x2: at(high), y1: 11, y2: 11, style: { stroke: colour }, class: "bar" }),
    known(chance) && s("line", { x1: at(chance), x2: at(chance), y1: 3, y2: 19, class: "chance" }),
    known(untrained) && s("svg", { x: at(untrained), overflow: "visible" }, s("path", { d: "M0 14 l4 7 h-8 z", class: "untrained" })),
    known(value) && s("circle", { cx: at(value), cy: 11, r: 4.5, style: { fill: colour } }));
}

/** Counts of the complete data set on a logarithmic scale, with marks on the axis of activations. */
export function histogram({ counts, minimum, maximum, marks = [], colour = "var(--accent)", height = 130 }) {
  const W = 640, H = height, bottom = H - 34, top = Math.log1p(Math.max(...counts, 1));
  const width = (W - 8) / counts.length;
  const at = (v) => 4 + clamp((v - minimum) / (maximum - minimum || 1)) * (W - 8);
  const total = counts.reduce((a, b) => a + b, 0);
  const most = Math.max(...counts);
  const bars = counts.map((count, k) => {
    const tall = count > 0 ? Math.max(1, Math.log1p(count) / top * (bottom - 14)) : 0;
    return `M${(4 + k * width + 0.5).toFixed(1)} ${bottom}v${(-tall).toFixed(1)}h${(width - 1).toFixed(1)}v${tall.toFixed(1)}z`;
  }).join("");
  return s("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img",
    "aria-label": `Histogram of ${whole(total)} activations from ${shown(minimum)} to ${shown(maximum)}, logarithmic; fullest bin ${whole(most)}` },
    s("path", { d: bars, style: { fill: colour } }),
    s("line", { x1: 4, x2: W - 4, y1: bottom, y2: bottom, class: "rule" }),
    marks.map(({ value, label }, k) => [
      s("line", { x1: at(value), x2: at(value), y1: 10, y2: bottom, class: "mark" }),
      text(Math.min(W - 30, Math.max(30, at(value))), 9 + (k % 2) * 12, label, { "text-anchor": "middle" })]),
    text(4, H - 18, shown(minimum)), text(W - 4, H - 18, shown(maximum), { "text-anchor": "end" }),
    text(W / 2, H - 4, "activation", { "text-anchor": "middle" }));
}

/** Effects of scaling a unit, with intervals; several units as several lines. */
export function dose(lines) {
  const W = 360, H = 180, left = 44, bottom = H - 34;
  const points = lines.flatMap(({ points }) => points);
  const most = Math.max(...points.map(({ effect }) => effect.high ?? effect.value ?? 0), 1e-9);
  const strengths = points.map(({ strength }) => strength), from = Math.min(...strengths), to = Math.max(...strengths);
  const x = (v) => left + (v - from) / (to - from || 1) * (W - left - 12), y = (v) => bottom - v / most * (bottom - 12);
  return s("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img",
    "aria-label": `Dose curve: ${lines.map(({ name, points }) => `${name ? `${name}, ` : ""}${points.map(({ strength, effect }) => `λ ${strength}: ${shown(effect.value)}`).join(", ")}`).join("; ")}` },
    s("line", { x1: left, x2: W - 8, y1: bottom, y2: bottom, class: "rule" }),
    s("line", { x1: x(1), x2: x(1), y1: 8, y2: bottom, class: "mark" }),
    lines.map(({ points, colour = "var(--accent)" }) => {
      const known = points.filter(({ effect }) => effect.value !== null);
      return [
        known.map(({ strength, effect }) => effect.low !== null && effect.high !== null
          && s("line", { x1: x(strength), x2: x(strength), y1: y(effect.low), y2: y(effect.high), class: "bar thin", style: { stroke: colour } })),
        s("polyline", { points: known.map(({ strength, effect }) => `${x(strength)},${y(effect.value)}`).join(" "), class: "curve", style: { stroke: colour } }),
        known.map(({ strength, effect }) => s("circle", { cx: x(strength), cy: y(effect.value), r: 3.5, style: { fill: colour } })),
      ];
    }),
    [...new Set(strengths)].map((v) => text(x(v), H - 18, `×${v}`, { "text-anchor": "middle" })),
    text(left - 6, y(most) + 4, shown(most), { "text-anchor": "end" }), text(left - 6, bottom + 4, "0", { "text-anchor": "end" }),
    text((left + W) / 2, H - 4, "activation of the unit scaled by λ", { "text-anchor": "middle" }));
}

/** Places of a unit and its neighbours: the more similar, the nearer; those that are like each other side by side. */
export function placed(centre, neighbours, edges, size) {
  const between = new Map(edges.flatMap(([a, b, value]) => [[`${a}:${b}`, value], [`${b}:${a}`, value]]));
  const left = neighbours.map(({ unit }) => unit), ordered = left.length ? [left.shift()] : [];
  while (left.length) {
    const last = ordered.at(-1);
    left.sort((a, b) => (between.get(`${last}:${b}`) ?? -1) - (between.get(`${last}:${a}`) ?? -1));
    ordered.push(left.shift());
  }
  const values = neighbours.map(({ value }) => Math.abs(value));
  const most = Math.max(...values, 0), least = Math.min(...values, most);
  const places = new Map([[centre, [size / 2, size / 2]]]);
  ordered.forEach((unit, k) => {
    const value = Math.abs(neighbours.find((each) => each.unit === unit).value);
    const r = size * (0.3 + 0.1 * (most === least ? 0.5 : (most - value) / (most - least)) + (k % 2 ? 0.02 : -0.02));
    const angle = (k / ordered.length) * 2 * Math.PI - Math.PI / 2;
    places.set(unit, [size / 2 + r * Math.cos(angle), size / 2 + r * Math.sin(angle)]);
  });
  return places;
}
