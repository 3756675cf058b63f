// Parts that several pages show: links to units, numbers that explain themselves, what is not measured, exports.

import { h, visible } from "./dom.js";
import { counted, shown } from "./numbers.js";

/** A column as the layer describes it. */
export function column(layer, name) {
  const base = name.replace(/_(low|high)$/, "");
  return layer.about.columns[name] ?? layer.about.columns[base] ?? { title: name.replaceAll("_", " "), meaning: "Not described in this bundle." };
}

export const title = (layer, name) => column(layer, name).title;

/** The first of some columns that half of the units have, or else the one that most have; null where none has any. */
export function mostKnown(layer, names) {
  const known = (name) => layer.column(name)?.reduce((n, value) => n + (value !== null), 0) ?? 0;
  const [most] = [...names].sort((a, b) => known(b) - known(a));
  return names.find((name) => known(name) * 2 >= layer.count) ?? (known(most) ? most : null);
}

/** Why a value is missing: for every unit of the layer, or else for this one. */
const reason = (layer, field) => layer.about.not_measured[field] ?? "other units of this layer may have it, this one has none";

/** A number as a button that opens its formula, n and file. `more`: rows of the unit's own. */
export function number(show, layer, name, value, { n = null, why = null, text = null, more = [] } = {}) {
  const missing = value === null || value === undefined;
  const opened = (event) => explain(show, event.currentTarget, layer, name, { value: missing ? null : value, n, more, why: why ?? reason(layer, name) });
  return h("button", { class: missing ? "number missing" : "number", type: "button", on: { click: opened } }, missing ? "not measured" : text ?? shown(value));
}

/** What a name means, as a button: headers of tables, names of scores. */
export function term(show, layer, name, label = null) {
  const opened = (event) => explain(show, event.currentTarget, layer, name, {});
  return h("button", { class: "term", type: "button", on: { click: opened } }, label ?? title(layer, name));
}

/** What nobody measured, with the reason. */
export function notMeasured(layer, field, why = null) {
  return h("p", { class: "missing" }, "Not measured: ", visible(why ?? reason(layer, field)), ".");
}

function explain(show, anchor, layer, name, { value, n, more = [], why }) {
  const about = column(layer, name);
  const source = layer.about.sources.find((each) => each.name === about.source);
  const rows = [
    value === null && ["Not measured", why],
    value !== null && value !== undefined && ["Value", String(value)],
    about.formula && ["Formula", h("code", {}, about.formula)],
    (n ?? about.n) && ["n", n ?? about.n],
    ...more,
    about.source && ["File", h("span", {}, about.source, source?.sha256 && h("code", { class: "hash" }, source.sha256.slice(0, 12)))],
    about.section && ["Section", `METRICS.md, ${about.section}`],
  ].filter(Boolean);
  show.popover(anchor, h("h2", {}, about.title), h("p", {}, about.meaning),
    h("dl", {}, rows.map(([key, content]) => [h("dt", {}, key), h("dd", {}, typeof content === "string" ? visible(content) : content)])),
    h("p", {}, show.link({ page: "methods", layer: layer.key }, "Data and methods")));
}

/** The address of a unit. */
export const address = (layer, unit) => `${layer.key}:${unit}`;

/** A card of a wall: what stands for a unit, its number and label, and one value. */
export function card(show, layer, unit, { name = null, value = undefined, lazy = true } = {}) {
  const label = layer.index.label[unit];
  const amount = value === undefined && name ? layer.value(name, unit) : value;
  return show.link({ page: "unit", unit: address(layer, unit) }, { class: "card" },
    thumb(layer, unit, lazy),
    h("span", { class: "card-text" }, h("b", {}, String(unit)), h("span", { class: label ? "label" : "label none" }, label ? visible(label) : "no label")),
    name && h("span", { class: "card-value" }, h("span", {}, title(layer, name)), h("span", {}, shown(amount))));
}

export function thumb(layer, unit, lazy = true) {
  const src = layer.thumb(unit);
  if (!src) return h("span", { class: "no-thumb" }, "no picture");
  return layer.held(h("img", { src, alt: "", width: 96, height: 96, loading: lazy ? "lazy" : null, decoding: "async" }));
}

/** A link to a unit with its picture and label in one line. */
export function unitLine(show, layer, unit, value = null) {
  return show.link({ page: "unit", unit: address(layer, unit) }, { class: "line" }, thumb(layer, unit),
    h("span", {}, h("b", {}, String(unit)), " ", visible(layer.index.label[unit] ?? "no label")), value !== null && h("span", { class: "amount" }, value));
}

/** A section with a heading. */
export function section(heading, ...children) {
  return h("section", {}, h("h2", {}, heading), children);
}

/** Buttons of pages that are turned: 60 units each. */
export function pager(show, at, total, per) {
  const last = Math.max(0, Math.ceil(total / per) - 1);
  const turn = (to, label, words) => h("button", { type: "button", disabled: to < 0 || to > last, "aria-label": words, "data-focus": words, on: { click: () => show.go({ at: to || null }, { top: true }) } }, label);
  return h("nav", { class: "pager", "aria-label": "Pages" }, turn(at - 1, "←", "Previous page"),
    h("span", {}, `${at + 1} of ${last + 1}`), turn(at + 1, "→", "Next page"));
}

/** A choice from a list, which changes one parameter of the address. */
export function choice(show, label, param, options, chosen, more = {}) {
  const changed = (event) => show.go({ [param]: event.target.value || null, at: null, ...more });
  return h("label", { class: "field" }, h("span", {}, label),
    h("select", { "data-focus": param, on: { change: changed } }, options.map(([value, text]) => h("option", { value, selected: value === chosen || (!value && !chosen) }, text))));
}

/** Save text or a blob as a file. */
export function save(name, type, content) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  h("a", { href: url, download: name.replace(/[^\w.+-]+/g, "_") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Buttons that export what is shown: words → what makes the file. */
export function exports(actions) {
  return h("div", { class: "exports", role: "group", "aria-label": "Export" },
    Object.entries(actions).map(([word, act]) => h("button", { type: "button", on: { click: act } }, word)));
}

/** Marks of the reader's own, in the browser alone. */
export function bookmarks(show) {
  const key = `microscope:${show.bundle.about.title}:bookmarks`;
  const read = () => { try { return new Set(JSON.parse(show.window.localStorage.getItem(key) ?? "[]")); } catch { return new Set(); } };
  return {
    has: (place) => read().has(place),
    all: read,
    toggle(place) {
      const marks = read();
      if (!marks.delete(place)) marks.add(place);
      try { show.window.localStorage.setItem(key, JSON.stringify([...marks])); } catch { /* a browser that keeps nothing */ }
      return marks.has(place);
    },
  };
}

export const summary = (n, total) => (n === total ? counted(n, "unit") : `${counted(n, "unit")} of ${total.toLocaleString("en-US")}`);
