// Browse: a wall of units, searched, filtered and sorted in the browser.

import { append, arrange, h, patch } from "./dom.js";
import { counted, distance, randomFrom, shown } from "./numbers.js";
import { address, card, choice, mostKnown, pager, summary, term, title } from "./parts.js";

const PER_PAGE = 60, CARDS_KEPT = 600;
const FILTERS = ["InterpScore", "S", "C", "R", "H", "label_score", "sparsity", "MS", "MS_top", "clarity", "entropy", "polysemy", "times_natural"];
const YES_NO = [["", "any"], ["1", "yes"], ["0", "no"]];
const UNSORTED = /_(low|high)$/;

let current = null;

export async function render(show, layer, params) {
  const of = { layer, head: h("div", { class: "heading" }), notable: h("div"), tools: h("div"), filtered: h("div"), wall: h("ul", { class: "wall" }), turn: h("div"), cards: new Map() };
  of.element = h("div", { class: "browse" }, of.head, of.notable, of.tools, h("div", { class: "stack" }, of.filtered, of.wall, of.turn));
  const next = fill(of, show, layer, params, true);
  return { element: of.element, title: "Browse", after: () => { current = of; prefetch(layer, next); } };
}

/** Another search, filter or page: what differs is drawn again, and the controls only where they changed. */
export function update(show, layer, params, before, content) {
  const of = current;
  if (of?.element !== content.firstChild || of.layer !== layer) return null;
  const others = ({ q, at, theme, ...rest }) => JSON.stringify(rest);
  let next = [];
  return { draw: () => { next = fill(of, show, layer, params, others(params) !== others(before)); }, after: () => prefetch(layer, next) };
}

/** Draw what the address asks for; gives the units of the next page. */
function fill(of, show, layer, params, controls) {
  const units = chosen(show, layer, params), name = sorting(layer, params);
  const last = Math.max(0, Math.ceil(units.length / PER_PAGE) - 1);
  const at = Math.min(last, Math.max(0, Number.parseInt(params.at ?? "0", 10) || 0));
  const missing = name && layer.column(name) ? units.filter((unit) => layer.value(name, unit) === null).length : 0;
  patch(of.head, h("div", { class: "heading" }, h("h1", { tabindex: -1 }, layer.about.title), h("p", { class: "muted" },
    `${counted(layer.about.units, "unit")} · ${counted(layer.about.images, "picture")} · `, h("span", { "data-count": units.length }, `${summary(units.length, layer.count)} shown`),
    missing > 0 && params.sort && `, ${missing} without ${title(layer, name)} last`)));
  if (controls) {
    of.notable.replaceChildren(...[notables(show, layer, params)].filter(Boolean));
    of.tools.replaceChildren(toolbar(show, layer, params, name));
  }
  const here = units.slice(at * PER_PAGE, (at + 1) * PER_PAGE);
  patch(of.filtered, h("div", { class: "filtered" }, chips(show, layer, params)));
  arrange(of.wall, cards(of, show, layer, here, name));
  patch(of.turn, h("div", { class: "filtered" }, !here.length && nothing(show, layer, params), units.length > PER_PAGE && pager(show, at, units.length, PER_PAGE)));
  return units.slice((at + 1) * PER_PAGE, (at + 2) * PER_PAGE);
}

/** Cards of units, each made once for what it depends on. */
function cards(of, show, layer, units, name) {
  const given = `${name} ${show.address.link({ page: "unit", unit: "" })}`;
  if (of.cardsFor !== given || of.cards.size > CARDS_KEPT) of.cards.clear();
  of.cardsFor = given;
  return units.map((unit) => {
    if (!of.cards.has(unit)) of.cards.set(unit, h("li", {}, card(show, layer, unit, { name, lazy: false })));
    return of.cards.get(unit);
  });
}

/** Units that the address asks for, in its order. */
export function chosen(show, layer, params) {
  const notable = layer.about.notable[Number(params.notable)];
  let units = params.notable !== undefined && notable ? notable.units.filter((unit) => unit < layer.count) : [...layer.index.unit_file.keys()];
  for (const text of (params.q ?? "").toLowerCase().split(/\s+/).filter(Boolean)) {
    const number = text.slice(text.lastIndexOf(":") + 1);
    units = units.filter((unit) => layer.searched[unit].includes(text) || (/^\d+$/.test(number) && String(unit) === number));
  }
  for (const [param, value] of Object.entries(params)) {
    const [, end, name] = /^(min|max)\.(.+)$/.exec(param) ?? [], bound = Number(value), of = layer.column(name);
    if (!end || !of || value.trim() === "" || !Number.isFinite(bound)) continue;
    units = units.filter((unit) => of[unit] !== null && (end === "min" ? of[unit] >= bound : of[unit] <= bound));
  }
  const dead = layer.column("dead");
  if (dead && params.dead) units = units.filter((unit) => String(dead[unit]) === params.dead);
  if (params.labelled) units = units.filter((unit) => (layer.index.label[unit] !== null) === (params.labelled === "1"));
  if (params.marked) { const marks = show.marks.all(); units = units.filter((unit) => marks.has(address(layer, unit))); }
  return sorted(layer, units, params);
}

function sorted(layer, units, params) {
  const sort = params.sort ?? "";
  if (sort === "random") {
    const random = randomFrom(Number(params.seed) || 1);
    const keys = new Map([...Array(layer.count).keys()].map((unit) => [unit, random()]));
    return units.sort((a, b) => keys.get(a) - keys.get(b));
  }
  if (sort === "label") return units.sort((a, b) => (layer.index.label[a] ?? "\uffff").localeCompare(layer.index.label[b] ?? "\uffff") || a - b);
  const column = layer.column(sort);
  if (!column) return units;
  const sign = (params.order ?? (sort === "Rank" ? "up" : "down")) === "up" ? 1 : -1;
  return units.sort((a, b) => (column[a] === null) - (column[b] === null) || sign * (column[a] - column[b]) || a - b);
}

/** The column whose value each card shows. */
function sorting(layer, params) {
  if (layer.column(params.sort ?? "")) return params.sort;
  return mostKnown(layer, ["InterpScore", "label_score", "S", "MS", "maximum", "mean"]);
}

function toolbar(show, layer, params, name) {
  const columns = Object.keys(layer.columns).filter((each) => !UNSORTED.test(each));
  const sorts = [["", "unit number"], ["label", "label"], ["random", "random"], ...columns.map((each) => [each, title(layer, each)])];
  const shuffled = () => show.go({ sort: "random", seed: 1 + Math.floor(Math.random() * 1e6), at: null });
  const sortable = layer.column(params.sort ?? "");
  const up = (params.order ?? (params.sort === "Rank" ? "up" : "down")) === "up";
  return h("div", { class: "toolbar" },
    choice(show, "Sort by", "sort", sorts, params.sort ?? "", { order: null, seed: null }),
    sortable && h("button", { type: "button", "data-focus": "order", "aria-label": up ? "Sort downwards" : "Sort upwards", on: { click: () => show.go({ order: up ? "down" : "up", at: null }) } }, up ? "↑" : "↓"),
    name && h("span", { class: "muted" }, "Cards show ", term(show, layer, name)),
    h("span", { class: "spring" }),
    h("button", { type: "button", "data-focus": "shuffle", on: { click: shuffled } }, "Shuffle"),
    h("button", { type: "button", on: { click: () => show.random() } }, "Random unit"),
    filters(show, layer, params));
}

let open = false;

function filters(show, layer, params) {
  const ranges = FILTERS.filter((name) => layer.column(name)?.some((value) => value !== null));
  const input = (end, name, placeholder) => {
    const changed = (event) => show.go({ [`${end}.${name}`]: event.target.value.trim() || null, at: null });
    return h("input", { type: "number", step: "any", placeholder, value: params[`${end}.${name}`] ?? "", "aria-label": `${title(layer, name)}, ${end === "min" ? "at least" : "at most"}`, "data-focus": `${end}.${name}`, on: { change: changed } });
  };
  const range = (name) => {
    const values = layer.column(name).filter((value) => value !== null);
    const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    return h("div", { class: "range" }, term(show, layer, name), input("min", name, shown(low)), "–", input("max", name, shown(high)));
  };
  const flags = [layer.column("dead") && ["Dead", "dead"], ["Labelled", "labelled"]].filter(Boolean);
  return h("details", { class: "filters", open, on: { toggle: (event) => { open = event.target.open; } } }, h("summary", { "data-focus": "filters" }, "Filters"),
    h("div", { class: "filter-grid" },
      flags.map(([label, param]) => choice(show, label, param, YES_NO, params[param] ?? "")),
      choice(show, "Bookmarked", "marked", [["", "any"], ["1", "yes"]], params.marked ?? ""), ranges.map(range)));
}

function chips(show, layer, params) {
  const found = [];
  const add = (words, ...names) => found.push([words, Object.fromEntries(names.map((name) => [name, null]))]);
  if (params.q) add(`“${params.q}”`, "q");
  for (const [param, value] of Object.entries(params)) {
    const [, end, name] = /^(min|max)\.(.+)$/.exec(param) ?? [];
    if (end) add(`${title(layer, name)} ${end === "min" ? "≥" : "≤"} ${value}`, param);
  }
  if (params.dead) add(params.dead === "1" ? "dead" : "not dead", "dead");
  if (params.labelled) add(params.labelled === "1" ? "labelled" : "without label", "labelled");
  if (params.marked) add("bookmarked", "marked");
  if (!found.length) return null;
  const removed = (changes, words) => h("button", { type: "button", class: "chip", "aria-label": `Remove filter ${words}`, on: { click: () => show.go({ ...changes, at: null }) } }, words, " ×");
  const all = Object.assign({}, ...found.map(([, changes]) => changes));
  return h("div", { class: "chips" }, found.map(([words, changes]) => removed(changes, words)), found.length > 1 && removed(all, "all filters"));
}

function notables(show, layer, params) {
  if (!layer.about.notable.length) return null;
  return h("nav", { class: "chips", "aria-label": "Notable units" }, h("span", { class: "muted" }, "Notable"),
    layer.about.notable.map(({ why }, k) => {
      const on = params.notable === String(k);
      return show.link({ page: "browse", notable: on ? null : String(k) }, { class: "chip", "aria-current": on ? "true" : null }, why);
    }));
}

function nothing(show, layer, params) {
  const words = [...new Set(layer.index.label.filter(Boolean))];
  const near = params.q && words.map((word) => [distance(word.toLowerCase().slice(0, 40), params.q.toLowerCase().slice(0, 40)), word]).sort((a, b) => a[0] - b[0])[0];
  return append(h("div", { class: "friendly small" }), [h("h2", {}, "No unit matches"),
    near && near[0] <= 3 && h("p", {}, "Did you mean ", show.link({ page: "browse", q: near[1] }, near[1]), "?"),
    h("p", {}, show.link({ page: "browse" }, { class: "button" }, "Show all units"))]);
}

/** Pictures of the next page, once nobody types. */
function prefetch(layer, units) {
  window.clearTimeout(soon);
  soon = window.setTimeout(() => units.map((unit) => layer.thumb(unit)).filter(Boolean).forEach((src) => { new Image().src = src; }), 600);
}

let soon = null;
