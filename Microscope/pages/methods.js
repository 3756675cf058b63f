// Data and methods: where every number comes from, what it means, what is missing, and whose the pictures are.

import { h, visible } from "./dom.js";
import { counted, shown, whole } from "./numbers.js";
import { exports, save, section } from "./parts.js";
import { bibtex } from "./downloads.js";

export async function render(show, layer) {
  const { about } = layer;
  const facts = [["Model", about.model], ["Layer", about.layer], ["Units", whole(about.units)], ["Pictures", whole(about.images)], ["Input", about.input], ["Preprocessing", about.preprocessing],
    ["Weights of the InterpScore", Object.entries(about.weights).map(([name, weight]) => `${name} ${shown(weight)}`).join(", ") || "none"], ["Made with", Object.entries(show.bundle.about.made_with).map(([name, version]) => `${name} ${version}`).join(", ")]];
  const element = h("div", { class: "stack" }, h("h1", { tabindex: -1 }, "Data and methods"),
    section(about.title, h("dl", { class: "facts" }, facts.map(([key, text]) => [h("dt", {}, key), h("dd", {}, visible(text))]))),
    section("Files", table("Files", ["File", "Kind", "SHA-256", "About", "Download"], about.sources.map((source) => [visible(source.name), source.kind, source.sha256 ? h("code", {}, source.sha256) : "–",
      Object.entries(source.about).map(([key, value]) => `${key} ${value}`).map(visible).join(", "), source.download ? h("a", { href: show.bundle.download(source.download), download: "" }, "download") : "–"]))),
    section("Limits", about.limits.length ? h("ul", { class: "dots" }, about.limits.map((each) => h("li", {}, visible(each)))) : h("p", { class: "muted" }, "None stated.")),
    section("Not measured", Object.keys(about.not_measured).length ? h("dl", { class: "facts" }, Object.entries(about.not_measured).map(([name, why]) => [h("dt", {}, visible(about.columns[name]?.title ?? name.replaceAll("_", " "))), h("dd", {}, visible(why))])) : h("p", { class: "muted" }, "Everything that the explorer shows was measured.")),
    section("What the numbers are", table("Numbers", ["Number", "Meaning", "Formula", "n", "File", "METRICS.md"], Object.entries(about.columns).map(([name, column]) => [h("span", { id: `column-${name}` }, visible(column.title)), visible(column.meaning), column.formula ? h("code", {}, visible(column.formula)) : "–", column.n ?? "–", visible(column.source ?? "–"), column.section ?? "–"]))),
    section("Chance", Object.keys(about.nulls).length ? table("Chance", ["Similarity", "95% of pairs are below", "95% of nearest neighbours are below", "How"], Object.entries(about.nulls).map(([kind, each]) => [kind, shown(each.pairs_95), shown(each.nearest_95), visible(each.how)])) : h("p", { class: "muted" }, "No null of similarities was computed.")),
    section("Pictures", h("p", { class: "muted" }, "Pictures are shown small, with what their image set says of them."), table("Rights", ["Source", "Licence", "Pictures"], about.rights.map(({ source, licence, images }) => [outside(source), outside(licence), counted(images, "picture")]))),
    section("Cite", h("pre", { class: "scroll", tabindex: 0, role: "region", "aria-label": "BibTeX" }, about.citation), exports({ BibTeX: () => save("interpscore.bib", "application/x-bibtex", bibtex(layer)), "layer.json": () => save("layer.json", "application/json", JSON.stringify(about, null, 1)) })));
  return { element, title: "Data and methods" };
}

/** Text, as a link where it is an address. */
function outside(text) {
  if (!text) return "not stated";
  return /^https?:\/\/\S+$/.test(text) ? h("a", { href: text, rel: "noopener noreferrer external", target: "_blank" }, visible(text)) : visible(text);
}

function table(name, heads, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, h("table", { class: "list" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}
