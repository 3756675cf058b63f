// Compare: two to six units on shared axes, side by side, with notes that export.

import { dose, histogram, interval } from "./charts.js";
import { h, visible } from "./dom.js";
import { csv, shown, whole } from "./numbers.js";
import { address, exports, notMeasured, number, save, section, term } from "./parts.js";
import { tileImage } from "./pictures.js";
import { unitOf } from "./state.js";

const MOST = 6, PICTURES = 9;
const COLOURS = ["light-dark(#0b7466, #4fd0bb)", "light-dark(#9a4a0b, #f0a868)", "light-dark(#3a55b4, #9db2ff)", "light-dark(#a02563, #f490c0)", "light-dark(#57691a, #bccf6a)", "light-dark(#5b5f68, #b3bac4)"];

export async function render(show, layer, params) {
  const places = [...new Set((params.units ?? "").split(",").map((each) => each.trim()).filter(Boolean))];
  const found = [], wrong = [];
  for (const place of places.slice(0, MOST)) {
    const at = unitOf({ unit: place, layer: layer.key }, show.bundle.keys);
    const of = show.bundle.keys.includes(at.layer) ? await show.bundle.layer(at.layer) : null;
    if (!of || at.unit === null || at.unit >= of.count) { wrong.push(place); continue; }
    const [known] = await Promise.all([of.unit(at.unit), of.sprite(at.unit)]);
    found.push({ of, known, place: address(of, at.unit), colour: COLOURS[found.length] });
  }
  const element = h("div", { class: "stack" },
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Compare units"), h("p", { class: "muted" }, `Two to ${MOST} units.`)),
    chooser(show, layer, found, wrong, places.length > MOST),
    found.length > 0 && [pictures(show, found), scores(show, found), ranges(show, found), doses(found), notes(show, found)],
    found.length === 0 && h("p", { class: "muted" }, "Add units by number, such as 5 or ", h("code", {}, `${layer.key}:5`), ", or open one and press Compare."));
  return { element, title: "Compare" };
}

function chooser(show, layer, found, wrong, many) {
  const input = h("input", { type: "text", "aria-label": "Unit to add", placeholder: "unit", "data-focus": "add", autocomplete: "off" });
  const set = (list) => show.go({ units: list.join(",") || null });
  const add = (event) => { event.preventDefault(); if (input.value.trim()) set([...found.map(({ place }) => place), ...input.value.trim().split(/[\s,]+/)]); };
  return h("div", { class: "row" },
    found.map(({ of, known, place, colour }) => h("span", { class: "chip", style: { "border-color": colour } }, h("i", { class: "dot", style: { background: colour } }), show.link({ page: "unit", unit: place }, `${found.some((each) => each.of !== of) ? place : known.unit}`),
      ` ${visible(known.label?.text ?? "no label")} `, h("button", { type: "button", class: "bare", "aria-label": `Remove unit ${place}`, on: { click: () => set(found.map((each) => each.place).filter((each) => each !== place)) } }, "×"))),
    found.length < MOST && h("form", { class: "row", on: { submit: add } }, input, h("button", {}, "Add")),
    wrong.length > 0 && h("p", { class: "missing", role: "status" }, `Not in this bundle: ${wrong.map(visible).join(", ")}. Units of ${layer.key} are numbered 0 to ${whole(layer.count - 1)}.`),
    many && h("p", { class: "missing" }, `The first ${MOST} are shown.`));
}

const side = (found, cell) => h("div", { class: "side", style: { "--n": found.length } }, found.map((each) => h("div", {}, heading(each), cell(each))));
const heading = ({ known, colour }) => h("h3", {}, h("i", { class: "dot", style: { background: colour } }), `Unit ${known.unit} `, h("span", { class: "muted" }, visible(known.label?.text ?? "no label")));

function pictures(show, found) {
  return section("Pictures that activate them most", side(found, ({ of, known }) => h("div", { class: "strip" }, known.top.slice(0, PICTURES).map((tile) => tileImage(of, known, tile)))));
}

function scores(show, found) {
  const [{ of: layer }] = found;
  const names = ["InterpScore", ...Object.keys(layer.about.weights), ...new Set(found.flatMap(({ known }) => Object.keys(known.scores)))].filter((name, k, all) => all.indexOf(name) === k && found.some(({ known }) => known.scores[name]));
  if (!names.length) return section("Scores", notMeasured(layer, "scores"));
  const row = (name) => {
    const all = found.flatMap(({ known }) => { const each = known.scores[name]; return each ? [each.value, each.low, each.high, each.chance, each.untrained] : []; }).filter((x) => x !== null && x !== undefined);
    const share = all.every((x) => x >= 0 && x <= 1), domain = share || !all.length ? [0, 1] : [Math.min(...all), Math.max(...all)];
    return h("tr", {}, h("th", { scope: "row" }, term(show, layer, name), !share && all.length > 0 && h("span", { class: "muted" }, ` ${shown(domain[0])} to ${shown(domain[1])}`)), h("td", {}, found.map(({ known, colour }) => { const each = known.scores[name]; return each?.value !== undefined && each?.value !== null && (share || domain[0] < domain[1]) ? interval(each, { colour, domain }) : null; })),
      found.map(({ of, known, colour }) => { const each = known.scores[name] ?? { value: null }; return h("td", { class: "amount" }, h("i", { class: "dot", style: { background: colour } }), number(show, of, name, each.value, { n: each.n, why: each.why })); }));
  };
  return section("Scores on shared axes", h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores" }, h("table", { class: "compared" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Score"), h("th", { scope: "col" }, "Interval"), found.map(({ known }) => h("th", { scope: "col" }, `Unit ${known.unit}`)))), h("tbody", {}, names.map(row)))),
    h("p", { class: "legend muted" }, "● value and 95% interval  ┃ chance  ▲ untrained network"));
}

function ranges(show, found) {
  const known = found.filter(({ known: each }) => each.minimum !== null && each.histogram.length);
  if (!known.length) return section("All pictures", notMeasured(found[0].of, "histogram"));
  const low = Math.min(...known.map((each) => each.known.minimum)), high = Math.max(...known.map((each) => each.known.maximum));
  return section("All pictures, on one axis", h("p", { class: "muted" }, `Activations from ${shown(low)} to ${shown(high)}; counts on a logarithmic scale.`),
    known.map((each) => h("div", {}, heading(each), histogram({ counts: rebinned(each.known, low, high), minimum: low, maximum: high, colour: each.colour, height: 96 }))));
}

/** Counts of a unit's bins, each put where its middle lies on the shared axis. */
export function rebinned({ histogram: counts, minimum, maximum }, low, high) {
  const shared = Array(counts.length).fill(0);
  counts.forEach((count, k) => {
    const middle = minimum + ((k + 0.5) / counts.length) * (maximum - minimum);
    shared[Math.min(counts.length - 1, Math.floor(((middle - low) / (high - low || 1)) * counts.length))] += count;
  });
  return shared;
}

function doses(found) {
  const lines = found.filter(({ known }) => known.dose?.length).map(({ known, colour }) => ({ name: `unit ${known.unit}`, points: known.dose, colour }));
  return section("Dose curves", lines.length ? h("div", { class: "half" }, dose(lines)) : notMeasured(found[0].of, "dose"));
}

/** The note of an exported file. An error says what is wrong with a file of another kind, or of other units. */
export function noteOf(text, found) {
  let kept;
  try { kept = JSON.parse(text); } catch { kept = null; }
  if (typeof kept?.note !== "string" || !Array.isArray(kept.units)) throw new Error("This file has no notes; expected the JSON that this page exports.");
  const units = (list) => list.map((each) => String(each?.place)).sort().join(", ");
  if (units(kept.units) !== units(found)) throw new Error(`These notes are on ${visible(units(kept.units)).slice(0, 80)}; expected ${units(found)}.`);
  return kept.note;
}

function notes(show, found) {
  const key = `microscope:${show.bundle.about.title}:notes:${found.map(({ place }) => place).sort().join(",")}`;
  let kept = "";
  try { kept = show.window.localStorage.getItem(key) ?? ""; } catch { /* a browser that keeps nothing */ }
  const keep = (event) => { try { show.window.localStorage.setItem(key, event.target.value); } catch { /* as above */ } };
  const box = h("textarea", { rows: 5, "aria-label": "Notes on these units", value: kept, placeholder: "Notes on these units; kept in this browser", on: { input: keep } });
  const names = [...new Set(found.flatMap(({ known }) => Object.keys(known.scores)))];
  const name = `compare_${found.map(({ known }) => known.unit).join("_")}`;
  const table = () => csv([["unit", "label", ...names.flatMap((each) => [each, `${each}_low`, `${each}_high`]), "note"],
    ...found.map(({ known, place }) => [place, known.label?.text, ...names.flatMap((each) => { const score = known.scores[each] ?? {}; return [score.value, score.low, score.high]; }), box.value])]);
  const data = () => JSON.stringify({ note: box.value, address: show.window.location.href, units: found.map(({ known, place }) => ({ place, label: known.label?.text ?? null, scores: known.scores })) }, null, 1);
  const said = h("p", { class: "missing", role: "status" });
  const take = async () => {
    try {
      box.value = noteOf(await file.files[0].text(), found);
      box.dispatchEvent(new Event("input"));
      said.textContent = "";
    } catch (error) {
      said.textContent = error.message;
    }
    file.value = "";
  };
  const file = h("input", { type: "file", accept: ".json,application/json", class: "hidden", tabindex: -1, "aria-hidden": "true", on: { change: take } });
  return section("Notes", box, said, file, h("div", { class: "row" }, h("button", { type: "button", on: { click: () => file.click() } }, "Import notes"), exports({
    Text: () => save(`${name}.md`, "text/markdown", `# ${found.map(({ place, known }) => `${place} ${known.label?.text ?? "no label"}`).join(", ")}\n\n${box.value}\n\n${show.window.location.href}\n`),
    JSON: () => save(`${name}.json`, "application/json", data()), CSV: () => save(`${name}.csv`, "text/csv", table()) })));
}
