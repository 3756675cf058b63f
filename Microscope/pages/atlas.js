// Atlas: every unit on one map, dead and redundant ones, statistics of the layer, and which concepts are covered.

import { h, visible } from "./dom.js";
import { counted, shown } from "./numbers.js";
import { address, choice, mostKnown, notMeasured, section, term, title, unitLine } from "./parts.js";

const SIZE = 760, EDGE = 16;

export async function render(show, layer, params) {
  const concepts = await layer.concepts();
  const chart = map(show, layer, params);
  const element = h("div", { class: "stack" }, h("h1", { tabindex: -1 }, `Atlas of ${layer.key}`),
    h("div", { class: "columns" }, h("div", { class: "wide" }, chart.element, covered(show, layer, concepts)), h("div", { class: "narrow" }, statistics(show, layer), redundant(show, layer), dead(show, layer))));
  return { element, title: "Atlas", after: chart.draw };
}

function map(show, layer, params) {
  const places = layer.map;
  if (!places) return { element: section("Map of units", notMeasured(layer, "map")), draw: () => {} };
  const names = Object.keys(layer.columns).filter((name) => !/_(low|high)$/.test(name) && name !== "dead" && layer.column(name).some((value) => value !== null));
  const by = names.includes(params.by) ? params.by : mostKnown(layer, ["InterpScore", "label_score", "MS", ...names]);
  const values = by ? layer.column(by) : [], known = values.filter((value) => value !== null).sort((a, b) => a - b);
  const low = known[Math.floor(known.length * 0.02)] ?? 0, high = known[Math.ceil(known.length * 0.98) - 1] ?? 1;
  const units = [...Array(layer.count).keys()].filter((unit) => places.x[unit] !== null && places.y[unit] !== null);
  const at = (unit) => [EDGE + places.x[unit] * (SIZE - 2 * EDGE), EDGE + (1 - places.y[unit]) * (SIZE - 2 * EDGE)];
  const canvas = h("canvas", { width: SIZE * 2, height: SIZE * 2, tabindex: 0, role: "application", "aria-label": `Map of ${counted(units.length, "unit")} by similarity, coloured by ${by ? title(layer, by) : "nothing"}. Arrow keys move between units, Enter opens one.` });
  const tip = h("div", { class: "tip", "aria-live": "polite" }, h("p", { class: "muted" }, "Point at a unit, or move with the arrow keys."));
  const r = units.length > 1000 ? 4 : units.length > 200 ? 6 : 8;
  let chosen = null;
  const draw = () => {
    const paint = canvas.getContext("2d"), style = show.window.getComputedStyle(show.frame), ink = style.color;
    paint.setTransform(2, 0, 0, 2, 0, 0);
    paint.clearRect(0, 0, SIZE, SIZE);
    for (const unit of units) {
      const [x, y] = at(unit), value = values[unit], lifeless = layer.value("dead", unit) === 1;
      paint.beginPath();
      paint.arc(x, y, r, 0, 7);
      paint.fillStyle = paint.strokeStyle = value === null || value === undefined ? "#9aa1a9" : colour((value - low) / (high - low || 1));
      if (lifeless) paint.stroke();
      else {
        paint.fill();
        paint.strokeStyle = ink;
        paint.globalAlpha = 0.35;
        paint.lineWidth = 0.8;
        paint.stroke();
        paint.globalAlpha = 1;
        paint.lineWidth = 1.5;
      }
    }
    if (chosen === null) return;
    paint.beginPath();
    paint.arc(...at(chosen), r + 5, 0, 7);
    paint.lineWidth = 2.5;
    paint.strokeStyle = ink;
    paint.stroke();
    paint.lineWidth = 1;
  };
  const choose = (unit) => {
    if (unit === chosen || unit === null) return;
    chosen = unit;
    draw();
    tip.replaceChildren(unitLine(show, layer, unit, by ? `${title(layer, by)} ${shown(values[unit])}` : null));
  };
  const nearest = (x, y) => units.reduce((best, unit) => { const [a, b] = at(unit), d = (a - x) ** 2 + (b - y) ** 2; return d < best[0] ? [d, unit] : best; }, [Infinity, null]);
  const where = (event) => { const box = canvas.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE]; };
  canvas.addEventListener("pointermove", (event) => { const [d, unit] = nearest(...where(event)); if (d < 500) choose(unit); });
  canvas.addEventListener("click", (event) => { const [d, unit] = nearest(...where(event)); if (d < 500) open(unit); });
  const open = (unit) => unit !== null && show.go({ page: "unit", unit: address(layer, unit) });
  canvas.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Enter") return open(chosen);
    if (!dx && !dy) return;
    event.preventDefault();
    if (chosen === null) return choose(units[0] ?? null);
    const [x, y] = at(chosen);
    const [, next] = units.reduce((best, unit) => { const [a, b] = at(unit), along = (a - x) * dx + (b - y) * dy, off = Math.abs((a - x) * dy) + Math.abs((b - y) * dx), cost = along + 2 * off; return along > 0.5 && off <= along && cost < best[0] ? [cost, unit] : best; }, [Infinity, null]);
    choose(next);
  });
  const element = section("Map of units", h("div", { class: "row" }, by && choice(show, "Colour", "by", names.map((name) => [name, title(layer, name)]), by), by && h("span", { class: "muted" }, `${shown(low)} `, h("i", { class: "ramp" }), ` ${shown(high)}`), h("span", { class: "muted" }, "○ dead")),
    h("p", { class: "muted" }, "Units that respond to the same pictures lie side by side; directions and distances across the map mean nothing."), h("div", { class: "map" }, canvas), tip);
  return { element, draw };
}

/** From violet over teal to yellow, readable on light and dark. */
function colour(share) {
  const stops = [[122, 92, 190], [36, 132, 140], [73, 176, 110], [233, 180, 40]], x = Math.max(0, Math.min(1, share)) * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(x));
  return `rgb(${stops[k].map((from, c) => Math.round(from + (stops[k + 1][c] - from) * (x - k))).join(",")})`;
}

function statistics(show, layer) {
  const rows = Object.entries(layer.about.statistics);
  return section("The layer", h("dl", { class: "facts" }, [["units", layer.about.units], ["pictures", layer.about.images], ...rows].map(([name, value]) => [h("dt", {}, layer.about.columns[name] ? term(show, layer, name) : visible(name.replaceAll("_", " "))), h("dd", {}, value === null ? h("span", { class: "missing" }, "not measured") : shown(value))])));
}

function redundant(show, layer) {
  const column = layer.column("redundancy");
  if (!column) return section("Most redundant", notMeasured(layer, "redundancy"));
  const units = column.map((value, unit) => [value, unit]).filter(([value]) => value !== null).sort((a, b) => b[0] - a[0]).slice(0, 8);
  return section("Most redundant", h("p", { class: "muted" }, term(show, layer, "redundancy"), ": another unit does nearly the same."), h("ul", { class: "lines" }, units.map(([value, unit]) => h("li", {}, unitLine(show, layer, unit, shown(value))))),
    h("p", {}, show.link({ page: "browse", sort: "redundancy" }, "All units by redundancy")));
}

function dead(show, layer) {
  const column = layer.column("dead");
  if (!column) return section("Dead", notMeasured(layer, "dead"));
  const units = column.flatMap((value, unit) => (value === 1 ? [unit] : []));
  return section("Dead", units.length ? [h("p", { class: "muted" }, `${counted(units.length, "unit")} never above 0 on ${counted(layer.about.images, "picture")}.`), h("p", { class: "inline" }, units.slice(0, 60).map((unit) => [show.link({ page: "unit", unit: address(layer, unit) }, String(unit)), " "])),
    h("p", {}, show.link({ page: "browse", dead: "1" }, "Show them on a wall"))] : h("p", { class: "muted" }, "No unit is dead."));
}

function covered(show, layer, concepts) {
  if (!concepts?.concepts.length) return section("Coverage of concepts", notMeasured(layer, "concepts"));
  const sorted = [...concepts.concepts].sort((a, b) => b.labelled.length - a.labelled.length || a.name.localeCompare(b.name)), none = sorted.filter(({ labelled }) => !labelled.length);
  const most = Math.max(1, sorted[0].labelled.length), has = sorted.length - none.length;
  return section("Coverage of concepts", h("p", { class: "muted" }, `${has} of ${counted(sorted.length, "concept")} are the label of a unit.`),
    h("ul", { class: "bars" }, sorted.slice(0, 24).filter(({ labelled }) => labelled.length).map(({ name, labelled }) => h("li", {}, show.link({ page: "concepts", concept: name }, visible(name)), h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${(labelled.length / most) * 100}%` } })), h("span", { class: "amount" }, String(labelled.length))))),
    none.length > 0 && h("p", { class: "muted" }, "Of no unit: ", none.slice(0, 40).map(({ name }) => visible(name)).join(", "), none.length > 40 && `, and ${none.length - 40} more`, "."));
}
