// Similar: the nearest units by correlation, weights and effect, each beside what chance gives, and how they hang together.

import { placed } from "./charts.js";
import { h, s, visible } from "./dom.js";
import { csv, shown } from "./numbers.js";
import { address, exports, notMeasured, number, save, section, term, thumb } from "./parts.js";
import { unitHead } from "./unit.js";

const KINDS = { correlation: "Correlation", weights: "Weights", effect: "Effect" };

export async function render(show, layer, params) {
  const { unit } = show.here;
  const known = await layer.unit(unit);
  const kind = params.kind in KINDS ? params.kind : Object.keys(KINDS).find((each) => known.similar[each]) ?? "correlation";
  const near = known.similar[kind], null_ = layer.about.nulls[kind];
  const tabs = h("nav", { class: "chips", "aria-label": "Kinds of similarity" }, Object.entries(KINDS).map(([each, words]) =>
    show.link({ page: "similar", unit: address(layer, unit), kind: each }, { class: "chip", "aria-current": each === kind ? "true" : null }, words)));
  const element = h("article", { class: "unit", "data-unit": unit }, unitHead(show, layer, known, "similar"), tabs,
    near ? h("div", { class: "columns even" },
      section("How they hang together", network(show, layer, known, kind, near, null_), h("p", { class: "muted" },
        "Nearer the centre is more similar. Lines among neighbours are correlations", layer.about.nulls.correlation ? ` above ${shown(layer.about.nulls.correlation.pairs_95)}, which 95% of permuted pairs stay below` : "", ".")),
      section(`Nearest by ${KINDS[kind].toLowerCase()}`, h("p", { class: "muted" }, term(show, layer, `similar_${kind}`), ". ", chance(null_)), list(show, layer, kind, near, null_),
        exports({ CSV: () => save(`${layer.key}_${unit}_similar.csv`, "text/csv", csv([["kind", "unit", "label", "value"], ...near.map((each) => [kind, each.unit, layer.index.label[each.unit], each.value])])) })))
      : section(`Nearest by ${KINDS[kind].toLowerCase()}`, notMeasured(layer, kind)));
  return { element, title: `Similar to unit ${unit} · ${layer.key}`, after: () => layer.prefetch([unit + 1, unit - 1, ...(near ?? []).slice(0, 3).map((each) => each.unit)], show.window) };
}

function chance(null_) {
  if (!null_) return "No null was computed for this similarity, so none is marked.";
  return `By chance (${visible(null_.how)}), 95% of units have no neighbour above ${shown(null_.nearest_95)}.`;
}

function list(show, layer, kind, near, null_) {
  return h("ol", { class: "neighbours" }, near.map(({ unit, value }) => {
    const above = null_ ? value > null_.nearest_95 : null;
    return h("li", { "data-neighbour": unit },
      show.link({ page: "similar", unit: address(layer, unit), kind }, { class: "line" }, thumb(layer, unit, false), h("span", {}, h("b", {}, String(unit)), " ", visible(layer.index.label[unit] ?? "no label"))),
      h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${Math.min(1, Math.abs(value)) * 100}%` } }), null_ && h("i", { style: { left: `${Math.min(1, null_.nearest_95) * 100}%` } })),
      number(show, layer, `similar_${kind}`, value, { more: null_ ? [["Chance, nearest", shown(null_.nearest_95)], ["Chance, a pair", shown(null_.pairs_95)]] : [] }),
      h("span", { class: above ? "tag good" : "tag" }, above === null ? "no null" : above ? "above chance" : "as by chance"));
  }));
}

function network(show, layer, known, kind, near, null_) {
  const size = 520, edges = known.similar.edges, least = layer.about.nulls.correlation?.pairs_95 ?? 0;
  const places = placed(known.unit, near, edges, size);
  const lines = [...near.map(({ unit, value }) => [known.unit, unit, value, true]), ...edges.filter(([a, b, value]) => places.has(a) && places.has(b) && Math.abs(value) > least)];
  const most = Math.max(...edges.map(([, , value]) => Math.abs(value)), least);
  const node = (unit) => {
    const [x, y] = places.get(unit), own = unit === known.unit, r = own ? 38 : 27, id = `clip-${unit}`;
    const open = (event) => { if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; event.preventDefault(); show.go({ page: own ? "unit" : "similar", unit: address(layer, unit), kind: own ? null : kind }); };
    return s("a", { href: show.address.link({ page: own ? "unit" : "similar", unit: address(layer, unit) }), class: own ? "node own" : "node", "aria-label": `Unit ${unit}, ${visible(layer.index.label[unit] ?? "no label")}`, on: { click: open } },
      s("clipPath", { id }, s("circle", { cx: x, cy: y, r })),
      layer.thumb(unit) ? s("image", { href: layer.thumb(unit), x: x - r, y: y - r, width: 2 * r, height: 2 * r, "clip-path": `url(#${id})`, preserveAspectRatio: "xMidYMid slice" }) : s("circle", { cx: x, cy: y, r, class: "blank" }),
      s("circle", { cx: x, cy: y, r, class: "ring" }), s("text", { x, y: y + r + 15, "text-anchor": "middle", class: "axis" }, String(unit)));
  };
  return s("svg", { viewBox: `0 0 ${size} ${size}`, class: "chart network" },
    lines.map(([a, b, value, own]) => s("line", { x1: places.get(a)[0], y1: places.get(a)[1], x2: places.get(b)[0], y2: places.get(b)[1], class: own ? "link own" : "link",
      "stroke-width": 1 + 3 * Math.abs(value), style: own ? {} : { opacity: (0.06 + 0.6 * ((Math.abs(value) - least) / (most - least || 1)) ** 2).toFixed(2) }, "stroke-dasharray": value < 0 ? "4 4" : null }, s("title", {}, `${a} – ${b}: ${shown(value)}`))),
    [...places.keys()].map(node));
}
