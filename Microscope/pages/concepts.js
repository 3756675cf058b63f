// Concepts: the units that stand for each, words of a vocabulary, and units that stand for several.

import { h, visible } from "./dom.js";
import { counted, csv, distance, shown } from "./numbers.js";
import { address, card, exports, notMeasured, save, section, thumb } from "./parts.js";
import { tileImage } from "./pictures.js";

const PER_PAGE = 8;

export async function render(show, layer, params) {
  const known = await layer.concepts();
  const element = h("div", { class: "stack" }, h("h1", { tabindex: -1 }, "Concepts"),
    known?.concepts.length ? ranked(show, layer, known, params) : section("Units of a concept", notMeasured(layer, "concepts")),
    probe(show, layer, known?.words, params),
    await several(show, layer, params));
  return { element, title: "Concepts" };
}

function ranked(show, layer, known, params) {
  const chosen = known.concepts.find(({ name }) => name === params.concept) ?? known.concepts[0];
  const wrong = params.concept !== undefined && chosen.name !== params.concept;
  const items = [...known.concepts].sort((a, b) => a.name.localeCompare(b.name)).map((concept) => [concept, h("li", {}, show.link({ page: "concepts", concept: concept.name }, { "aria-current": concept === chosen ? "true" : null }, visible(concept.name), h("span", { class: "amount muted" }, String(concept.labelled.length))))]);
  const filter = (event) => items.forEach(([concept, item]) => { item.hidden = !concept.name.toLowerCase().includes(event.target.value.trim().toLowerCase()); });
  const labelled = new Set(chosen.labelled);
  const rows = chosen.units.map((unit, k) => [unit, chosen.score[k]]).filter(([unit]) => unit < layer.count);
  return section("Units of a concept", h("div", { class: "sidebar" },
    h("div", {}, h("input", { type: "search", placeholder: "Filter concepts", "aria-label": "Filter concepts", on: { input: filter } }),
      h("ul", { class: "names", tabindex: 0, "aria-label": "Concepts, with how many units have them as label" }, items.map(([, item]) => item))),
    h("div", { class: "stack" }, wrong && h("p", { class: "missing" }, `There is no concept “${visible(params.concept)}”; this is ${chosen.name}.`),
      h("div", { class: "heading" }, h("h3", { class: "big" }, visible(chosen.name)), h("p", { class: "muted" },
        chosen.images !== null && `${counted(chosen.images, "picture")} · `, `label of ${counted(chosen.labelled.length, "unit")} · ranked by ${known.ranked_by}`)),
      rows.length ? h("ol", { class: "wall" }, rows.map(([unit, score], k) => h("li", { class: labelled.has(unit) ? "ranked is-label" : "ranked" }, h("span", { class: "place" }, String(k + 1)), card(show, layer, unit, { name: "concept_score", value: score })))) : h("p", { class: "missing" }, "No unit is ranked for it."),
      h("p", { class: "muted" }, "A coloured edge marks units whose label it is."),
      exports({ CSV: () => save(`${chosen.name}.csv`, "text/csv", csv([["concept", "rank", "unit", "score", "is_label"], ...rows.map(([unit, score], k) => [chosen.name, k + 1, unit, score, labelled.has(unit) ? 1 : 0])])) }))));
}

function probe(show, layer, words, params) {
  if (!words) return section("Find by words", notMeasured(layer, "words"));
  const input = h("input", { type: "search", list: "vocabulary", value: params.word ?? "", placeholder: words.vocabulary.slice(0, 3).join(", "), "aria-label": "A word", autocomplete: "off", "data-focus": "word" });
  const ask = (event) => { event.preventDefault(); show.go({ word: input.value.trim() || null }); };
  const word = (params.word ?? "").toLowerCase().trim(), at = words.vocabulary.findIndex((each) => each.toLowerCase() === word);
  return section("Find by words", h("p", { class: "muted" }, `Units whose top pictures are closest to a word, by ${words.model} with “${words.template}”, among ${counted(words.vocabulary.length, "word")}. The value is the cosine above the mean over units.`),
    h("form", { class: "row", on: { submit: ask } }, input, h("datalist", { id: "vocabulary" }, words.vocabulary.slice(0, 5000).map((each) => h("option", { value: each }))), h("button", { class: "primary" }, "Find")),
    word && (at < 0 ? unknownWord(show, words, word) : h("ol", { class: "wall", "data-word": words.vocabulary[at] }, words.units[at].map((unit, k) => h("li", {}, card(show, layer, unit, { name: "word_score", value: words.score[at][k] }))))));
}

function unknownWord(show, words, word) {
  const near = words.vocabulary.map((each) => [each.toLowerCase().includes(word) ? 0 : distance(each.toLowerCase(), word.slice(0, 40)), each]).sort((a, b) => a[0] - b[0]).slice(0, 5);
  return h("p", { class: "missing" }, `“${visible(word)}” is not in the vocabulary. Nearest: `, near.map(([, each], k) => [k > 0 && ", ", show.link({ word: each }, visible(each))]), ".");
}

async function several(show, layer, params) {
  const column = layer.column("polysemy");
  if (!column) return section("Units of several concepts", notMeasured(layer, "polysemy"));
  const units = column.map((value, unit) => [value ?? 0, unit]).filter(([value]) => value >= 2).sort((a, b) => b[0] - a[0] || a[1] - b[1]).map(([, unit]) => unit);
  if (!units.length) return section("Units of several concepts", h("p", { class: "muted" }, "No unit's label needs more than one concept."));
  const at = Math.min(Math.ceil(units.length / PER_PAGE) - 1, Math.max(0, Number.parseInt(params.at ?? "0", 10) || 0));
  const here = units.slice(at * PER_PAGE, (at + 1) * PER_PAGE);
  const rows = await Promise.all(here.map(async (unit) => {
    const [known] = await Promise.all([layer.unit(unit), layer.sprite(unit)]);
    return clusterRow(show, layer, known);
  }));
  const turn = (to, words) => h("button", { type: "button", disabled: to < 0 || to * PER_PAGE >= units.length, "data-focus": words, on: { click: () => show.go({ at: to || null }) } }, words);
  return section("Units of several concepts", h("p", { class: "muted" }, `${counted(units.length, "unit")} whose label needs at least two concepts, with the groups that their top pictures fall into.`), rows,
    units.length > PER_PAGE && h("div", { class: "row" }, turn(at - 1, "Earlier units"), turn(at + 1, "More units")));
}

function clusterRow(show, layer, known) {
  const groups = known.clusters ?? [];
  return h("div", { class: "clusters" }, show.link({ page: "unit", unit: address(layer, known.unit) }, { class: "line" }, thumb(layer, known.unit), h("span", {}, h("b", {}, String(known.unit)), " ",
    [known.label?.text, ...(known.label?.needs ?? [])].filter(Boolean).map(visible).join(" + ") || "no label"), h("span", { class: "amount" }, shown(layer.value("polysemy", known.unit)))),
    groups.length ? groups.map(({ size, concept }, k) => h("div", { class: "group" }, h("p", { class: "muted" }, `${size} × ${visible(concept ?? "mixed")}`),
      h("div", { class: "strip" }, known.top.filter((tile) => tile.cluster === k).slice(0, 6).map((tile) => tileImage(layer, known, tile))))) : h("p", { class: "missing" }, "Groups are not measured."));
}
