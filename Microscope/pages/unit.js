// Unit: everything that is known of one unit.

import { dose, histogram, interval } from "./charts.js";
import { h, visible } from "./dom.js";
import { bibtex, csvOf, pngOf } from "./downloads.js";
import { guess } from "./guess.js";
import { percentile, shown, whole } from "./numbers.js";
import { address, exports, notMeasured, number, save, section, term, unitLine } from "./parts.js";
import { lightbox, tileAt, tiles } from "./pictures.js";

/** Scores that lie between 0 and 1 and get a bar. */
const isShare = ({ value, low, high }) => [value, low, high].every((x) => x === null || x === undefined || (x >= 0 && x <= 1));

let current = null;
/** Of what lies below the pictures and beside them, as it was last: a page keeps its height, and the reader's place, until that is drawn. */
let heights = [600, 600];

export async function render(show, layer, params) {
  const { unit } = show.here;
  return show.panes.find(keyOf(show, layer, unit)) ?? read(show, layer, unit, params);
}

/** A picture enlarged or closed changes nothing else. */
export function update(show, layer, params, before, content) {
  const of = current, others = ({ tile, heat, ...rest }) => JSON.stringify(rest);
  if (!of || of.layer !== layer || content.firstChild !== of.element || others(params) !== others(before)) return null;
  if (params.tile === before.tile && params.heat === before.heat) return null;
  if (params.heat !== before.heat && !tileAt(of.known, params.tile)) return null;
  return { draw: () => of.light.draw(params) };
}

/** A unit's page: its head and what is beside the pictures at first, what lies below `later`. */
async function read(show, layer, unit, params) {
  const key = keyOf(show, layer, unit), sprite = layer.sprite(unit), heat = params.heat === "1";
  const known = await layer.unit(unit);
  let own = first(show, layer, known, heat);
  show.panes.put(own.element);
  await sprite;
  if (known.top.some((tile) => tile.tile !== null && !layer.shows(known, tile))) {
    const { element } = own;
    own = first(show, layer, known, heat);
    element.replaceWith(own.element);
  }
  return {
    own, key, element: own.element, title: `Unit ${unit} · ${layer.key}`,
    rest: () => layer.sprite(unit, "rest"),
    after: () => { current = own; own.light.draw(show.params); },
    ahead: () => {
      heights = [...own.element.querySelectorAll(":scope > .columns > * > .rest")].map((each) => each.offsetHeight);
      return [unit - 1, unit + 1].filter((near) => near >= 0 && near < layer.count).map((near) => [keyOf(show, layer, near), () => read(show, layer, near, show.params)]);
    },
    later: () => {
      const [below, beside] = own.element.querySelectorAll(":scope > .columns > * > .rest");
      below.replaceWith(h("div", { class: "rest" }, strata(show, layer, known, heat), wholeSet(show, layer, known),
        h("div", { class: "columns even" }, doses(show, layer, known), nearest(show, layer, known)),
        section("Guess the picture", guess(layer, known))));
      beside.replaceWith(h("div", { class: "rest" }, scores(show, layer, known), exported(show, layer, known)));
    },
  };
}

/** What a unit's page depends on. */
const keyOf = (show, layer, unit) => JSON.stringify(Object.entries({ ...show.params, unit: address(layer, unit), tile: null }).sort());

/** What is seen first of a unit: its element, which what lies below is put into. */
function first(show, layer, known, heat) {
  const light = lightbox(show, layer, known), rest = (k) => h("div", { class: "rest stale", style: { "contain-intrinsic-block-size": `${heights[k]}px` } });
  const wide = h("div", { class: "wide" }, topPictures(show, layer, known, heat), rest(0));
  const narrow = h("div", { class: "narrow" }, renders(show, layer, known), label(show, layer, known), rest(1));
  const element = h("article", { class: "unit", "data-unit": known.unit }, unitHead(show, layer, known, "unit"), h("div", { class: "columns" }, wide, narrow), light.box);
  return { element, layer, light, known };
}

/** The head of a unit's pages. */
export function unitHead(show, layer, known, page) {
  const { unit } = known, place = address(layer, unit), marked = show.marks.has(place);
  const step = (to, arrow, words) => (to >= 0 && to < layer.count
    ? show.link({ page, unit: address(layer, to) }, { class: "button", "aria-label": words, "data-focus": words }, arrow)
    : h("span", { class: "button off", "aria-hidden": "true" }, arrow));
  const tab = (to, words) => show.link({ page: to, unit: place }, { "aria-current": to === page ? "page" : null }, words);
  return h("header", { class: "unit-head" },
    h("div", {}, h("p", { class: "muted" }, show.link({ page: "browse", layer: layer.key }, layer.about.title)),
      h("h1", { tabindex: -1 }, `Unit ${unit}`, " ", h("span", { class: known.label?.text ? "label" : "label none" }, known.label?.text ? visible(known.label.text) : "no label"))),
    h("div", { class: "row" }, step(unit - 1, "←", "Previous unit"), step(unit + 1, "→", "Next unit"),
      h("button", { type: "button", "aria-pressed": String(marked), "data-focus": "bookmark", on: { click: () => show.bookmark() } }, marked ? "★ Bookmarked" : "☆ Bookmark"),
      show.link({ page: "compare", units: `${place},${address(layer, known.similar.correlation?.[0]?.unit ?? (unit + 1) % layer.count)}` }, { class: "button" }, "Compare")),
    h("nav", { class: "subtabs", "aria-label": "Pages of the unit" }, tab("unit", "Unit"), tab("similar", "Similar units")));
}

function topPictures(show, layer, known, heat) {
  const maps = known.top.some((tile) => tile.heat);
  return section("Pictures that activate it most",
    h("p", { class: "muted" }, `The ${known.top.length} highest of ${whole(layer.about.images)}, with their activation. `, known.unreadable > 0 && `${whole(known.unreadable)} could not be read. `,
      maps && h("button", { type: "button", "aria-pressed": String(heat), "data-focus": "heat", on: { click: () => show.go({ heat: heat ? null : "1" }) } }, "Where it fires")),
    known.top.length ? tiles(show, layer, known, known.top, "top", { heat }) : notMeasured(layer, "top"),
    clusters(layer, known));
}

function clusters(layer, known) {
  if (!known.clusters) return null;
  return h("p", { class: "muted" }, "They fall into ", known.clusters.length === 1 ? "one group" : `${known.clusters.length} groups`, ": ",
    known.clusters.map(({ size, concept }) => `${size} × ${visible(concept ?? "mixed")}`).join(", "), ".");
}

function strata(show, layer, known, heat) {
  if (!known.strata.length) return section("Over the whole range", notMeasured(layer, "strata"));
  const quantile = (q) => percentile(q * 100);
  return section("Over the whole range",
    h("p", { class: "muted" }, "Pictures sampled evenly between quantiles of the unit's activation, lowest first: what it ignores says as much as what it likes."),
    h("div", { class: known.strata.every((stratum) => stratum.tiles.length <= 5) ? "strata few" : "strata" }, known.strata.map((stratum, k) => h("div", { class: "stratum" },
      h("p", {}, h("b", {}, `${quantile(stratum.from_quantile)} – ${quantile(stratum.to_quantile)}`), h("span", { class: "muted" }, `${shown(stratum.low)} to ${shown(stratum.high)}`)),
      tiles(show, layer, known, stratum.tiles, `s${k}`, { heat })))));
}

function wholeSet(show, layer, known) {
  const n = known.histogram.reduce((a, b) => a + b, 0);
  if (known.minimum === null || !n) return section("All pictures", notMeasured(layer, "histogram"));
  const marks = [known.mean !== null && { value: known.mean, label: "mean" }, known.top.length && { value: known.top.at(-1).activation, label: `top ${known.top.length}` }].filter(Boolean);
  return section("All pictures",
    histogram({ counts: known.histogram, minimum: known.minimum, maximum: known.maximum, marks }),
    h("p", { class: "muted" }, `${whole(n)} pictures on a logarithmic scale: the complete data set. `, "Mean ", number(show, layer, "mean", known.mean, { n: `${whole(n)} pictures` }),
      known.inactive !== null && [", 0 or below on ", number(show, layer, "inactive", known.inactive, { text: percentile(known.inactive * 100), n: `${whole(n)} pictures` })], "."));
}

function renders(show, layer, known) {
  if (!known.renders.length) return section("Made to activate it", notMeasured(layer, "renders"));
  return section("Made to activate it",
    h("ul", { class: "renders" }, known.renders.map((render, k) => {
      const works = render.times_natural === null ? null : render.times_natural >= 1;
      const what = [render.start && `start: ${render.start}`, render.facet && `facet: ${render.facet}`, render.recipe].filter(Boolean).map(visible).join(" · ");
      return h("li", {}, layer.held(h("img", { src: layer.file(render.file), alt: `Render ${k + 1}: ${what}`, width: render.side, height: render.side, decoding: "async" })),
        h("p", {}, works === null ? h("span", { class: "tag" }, "effect not measured") : h("span", { class: works ? "tag good" : "tag bad" }, works ? "works" : "does not work"), " ",
          number(show, layer, "times_natural", render.times_natural, { text: render.times_natural === null ? null : `${shown(render.times_natural)}×` }), works === null ? "" : " the best natural picture"),
        h("p", { class: "muted" }, what), render.flags.length > 0 && h("p", { class: "muted" }, render.flags.map(visible).join(", ")));
    })));
}

function label(show, layer, known) {
  const found = known.label;
  if (!found) return section("Label", notMeasured(layer, "label"));
  const rows = [
    found.score && ["Score", [number(show, layer, "label_score", found.score.value, { n: found.score.n, why: found.score.why, more: moreOf(found.score) }), between(found.score)]],
    found.score?.p_adjusted !== null && found.score?.p_adjusted !== undefined && ["Adjusted p", shown(found.score.p_adjusted)],
    found.polysemy !== null && ["Concepts needed", [number(show, layer, "polysemy", found.polysemy), found.needs.length > 0 && ` besides: ${found.needs.map(visible).join(", ")}`]],
    found.prediction_set.length > 0 && ["Prediction set", found.prediction_set.map(visible).join(", ")],
    ["Source", visible(found.source)],
  ].filter(Boolean);
  return section("Label", h("p", { class: found.text ? "big" : "big none" }, found.text ? visible(found.text) : visible(found.why ?? "none better than chance")),
    h("dl", { class: "facts" }, rows.map(([key, content]) => [h("dt", {}, key), h("dd", {}, content)])),
    found.runners_up.length > 0 && h("div", {}, h("h3", {}, "Runners-up"),
      h("table", { class: "scores" }, h("tbody", {}, found.runners_up.map((each) => h("tr", {}, h("th", { scope: "row" }, visible(each.text)),
        h("td", { class: "amount" }, shown(each.score)), h("td", {}, isShare({ ...each, value: each.score }) && interval({ ...each, value: each.score })), h("td", { class: "amount muted" }, between(each))))))));
}

const between = ({ low, high }) => (low === null || low === undefined || high === null || high === undefined ? "" : ` [${shown(low)}, ${shown(high)}]`);

function moreOf(score) {
  return [["chance", "Chance"], ["untrained", "Best untrained unit"], ["untrained_higher", "Untrained units that score higher"], ["p_adjusted", "Adjusted p"]]
    .filter(([key]) => score[key] !== null && score[key] !== undefined).map(([key, words]) => [words, shown(score[key])]);
}

function scores(show, layer, known) {
  const names = Object.keys(known.scores), main = ["InterpScore", ...Object.keys(layer.about.weights), ...names.filter((name) => name === "Rank")];
  const row = (name) => {
    const score = known.scores[name] ?? { value: null };
    return h("tr", { "data-score": name }, h("th", { scope: "row" }, term(show, layer, name)),
      h("td", { class: "amount" }, number(show, layer, name, score.value, { n: score.n, why: score.why, more: moreOf(score) }), score.significant && h("span", { title: "significant" }, "*")),
      h("td", {}, score.value !== null && isShare(score) && interval(score)), h("td", { class: "amount muted" }, between(score)));
  };
  const table = (list) => h("table", { class: "scores" }, h("tbody", {}, list.map(row)));
  const rest = names.filter((name) => !main.includes(name));
  const measured = main.some((name) => known.scores[name]);
  return section("Scores", measured ? table(main) : notMeasured(layer, "scores"), rest.length > 0 && [h("h3", {}, "Further scores"), table(rest)],
    h("p", { class: "legend muted" }, "● value and 95% interval  ┃ chance  ▲ untrained network"), known.notes.map((note) => h("p", { class: "muted" }, visible(note))));
}

function doses(show, layer, known) {
  if (!known.dose?.length) return section("Dose curve", notMeasured(layer, "dose"));
  return section("Dose curve", h("p", { class: "muted" }, term(show, layer, "dose", "Change of the embedding"), " when the unit is scaled, with intervals."), dose([{ points: known.dose }]));
}

function nearest(show, layer, known) {
  const near = known.similar.correlation;
  if (!near) return section("Most alike", notMeasured(layer, "correlation"));
  return section("Most alike", h("ul", { class: "lines" }, near.slice(0, 4).map(({ unit, value }) => h("li", {}, unitLine(show, layer, unit, shown(value))))),
    h("p", {}, show.link({ page: "similar", unit: address(layer, known.unit) }, "All similar units")));
}

function exported(show, layer, known) {
  const name = `${layer.key}_${known.unit}`;
  return section("Export", exports({
    JSON: () => save(`${name}.json`, "application/json", JSON.stringify({ model: layer.about.model, sources: layer.about.sources, ...known }, null, 1)),
    CSV: () => save(`${name}.csv`, "text/csv", csvOf(layer, known)),
    PNG: async () => save(`${name}.png`, "image/png", await pngOf(layer, known)),
    BibTeX: () => save(`${name}.bib`, "application/x-bibtex", bibtex(layer)),
  }), h("p", { class: "muted" }, "Pictures keep the rights of their sources."));
}
