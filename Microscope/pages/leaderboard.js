// Leaderboard: InterpScores under weights of the reader's own, with intervals of scores and ranks.

import { interval } from "./charts.js";
import { h, visible } from "./dom.js";
import { counted, csv, shown } from "./numbers.js";
import { address, exports, notMeasured, pager, save, section, term, thumb } from "./parts.js";

const PER_PAGE = 50;

export async function render(show, layer, params) {
  const names = Object.keys(layer.about.weights).filter((name) => layer.column(name)?.some((value) => value !== null));
  if (!names.length) return { element: h("div", { class: "stack" }, h("h1", { tabindex: -1 }, "Leaderboard"), section("Scores", notMeasured(layer, "InterpScore", layer.about.not_measured.InterpScore ?? layer.about.not_measured.scores))), title: "Leaderboard" };
  const weights = weightsOf(layer, names, params.weights), own = names.some((name) => weights[name] !== layer.about.weights[name]);
  const rows = board(layer, names, weights, own);
  const at = Math.min(Math.ceil(rows.length / PER_PAGE) - 1, Math.max(0, Number.parseInt(params.at ?? "0", 10) || 0));
  const incomplete = rows.filter(({ rank }) => rank === null).length;
  const element = h("div", { class: "stack" },
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Leaderboard"), h("p", { class: "muted" }, counted(rows.length, "scored unit"), incomplete > 0 && `, ${incomplete} without a rank since components are missing`)),
    sliders(show, layer, names, weights, own), table(show, layer, names, rows.slice(at * PER_PAGE, (at + 1) * PER_PAGE), own),
    rows.length > PER_PAGE && pager(show, at, rows.length, PER_PAGE),
    exports({ CSV: () => save(`leaderboard_${layer.key}.csv`, "text/csv", asCsv(layer, names, rows, weights)) }));
  return { element, title: "Leaderboard" };
}

function weightsOf(layer, names, text) {
  const given = (text ?? "").split(",").map(Number);
  const fits = text !== undefined && given.length === names.length && given.every((x) => Number.isFinite(x) && x >= 0) && given.some((x) => x > 0);
  return Object.fromEntries(names.map((name, k) => [name, fits ? given[k] : layer.about.weights[name]]));
}

/** Weighted mean of the components that are there. */
export function weighted(names, weights, values) {
  const there = names.filter((name) => values[name] !== null && values[name] !== undefined && weights[name] > 0);
  const total = there.reduce((sum, name) => sum + weights[name], 0);
  return total > 0 ? there.reduce((sum, name) => sum + weights[name] * values[name], 0) / total : null;
}

/** Rows by score. Weights of the run keep its intervals; others have bounds: every component at the end of its interval. */
export function board(layer, names, weights, own) {
  const at = (unit, end) => Object.fromEntries(names.map((name) => [name, layer.value(name + end, unit) ?? layer.value(name, unit)]));
  const rows = [];
  for (let unit = 0; unit < layer.count; unit++) {
    const values = at(unit, ""), score = own ? weighted(names, weights, values) : layer.value("InterpScore", unit) ?? weighted(names, weights, values);
    if (score === null) continue;
    const low = own ? weighted(names, weights, at(unit, "_low")) : layer.value("InterpScore_low", unit);
    const high = own ? weighted(names, weights, at(unit, "_high")) : layer.value("InterpScore_high", unit);
    rows.push({ unit, values, score, low, high, complete: names.filter((name) => weights[name] > 0 && values[name] !== null).length, rank: null, first: null, last: null });
  }
  const most = Math.max(...rows.map(({ complete }) => complete), 0);
  rows.sort((a, b) => b.complete - a.complete || b.score - a.score || a.unit - b.unit);
  const ranked = rows.filter(({ complete }) => complete === most);
  const lows = ranked.map(({ low, score }) => low ?? score).sort((a, b) => a - b), highs = ranked.map(({ high, score }) => high ?? score).sort((a, b) => a - b);
  const above = (sorted, x) => { let [a, b] = [0, sorted.length]; while (a < b) { const m = (a + b) >> 1; if (sorted[m] > x) b = m; else a = m + 1; } return sorted.length - a; };
  const below = (sorted, x) => { let [a, b] = [0, sorted.length]; while (a < b) { const m = (a + b) >> 1; if (sorted[m] < x) a = m + 1; else b = m; } return a; };
  ranked.forEach((row, k) => {
    row.rank = k > 0 && ranked[k - 1].score === row.score ? ranked[k - 1].rank : k + 1;
    const kept = own ? null : layer.value("Rank_low", row.unit);
    row.first = kept ?? 1 + above(lows, row.high ?? row.score);
    row.last = (own ? null : layer.value("Rank_high", row.unit)) ?? ranked.length - below(highs, row.low ?? row.score);
    if (!own) row.rank = layer.value("Rank", row.unit) ?? row.rank;
  });
  return rows;
}

function sliders(show, layer, names, weights, own) {
  let waiting = null;
  const inputs = names.map((name) => {
    const amount = h("output", { class: "amount" }, shown(weights[name]));
    const slide = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: weights[name], "aria-label": `Weight of ${name}`, "data-focus": `weight ${name}` });
    slide.addEventListener("input", () => {
      amount.textContent = shown(Number(slide.value));
      show.window.clearTimeout(waiting);
      waiting = show.window.setTimeout(() => show.go({ weights: inputs.map(({ slide: each }) => each.value).join(","), at: null }, { replace: true }), 30);
    });
    return { slide, element: h("label", { class: "weight" }, h("span", {}, name), slide, amount) };
  });
  return section("Weights", h("div", { class: "weights" }, inputs.map(({ element }) => element), h("button", { type: "button", disabled: !own, "data-focus": "weights", on: { click: () => show.go({ weights: null, at: null }) } }, "As in the run")),
    h("p", { class: "muted" }, own ? "Intervals are bounds: every component at the same end of its 95% interval, so they are wider than the run's; ranks follow from them." : "Intervals and ranks are the run's own, from its resamples."));
}

function table(show, layer, names, rows, own) {
  const published = layer.column("published_InterpScore"), run = own && layer.column("InterpScore");
  const head = (content) => h("th", { scope: "col" }, content);
  const row = ({ unit, values, score, low, high, rank, first, last }) => h("tr", { "data-unit": unit },
    h("td", { class: "amount" }, rank === null ? "–" : String(rank), first !== null && h("span", { class: "muted" }, ` ${first}–${last}`)),
    h("th", { scope: "row" }, show.link({ page: "unit", unit: address(layer, unit) }, { class: "line" }, thumb(layer, unit), h("span", {}, h("b", {}, String(unit)), " ", visible(layer.index.label[unit] ?? "no label")))),
    h("td", { class: "amount" }, h("b", {}, shown(score))), h("td", { class: "wide-cell" }, interval({ value: score, low, high })), h("td", { class: "amount muted" }, low === null ? "" : `[${shown(low)}, ${shown(high)}]`),
    names.map((name) => h("td", { class: "amount" }, shown(values[name]))), run && h("td", { class: "amount" }, shown(layer.value("InterpScore", unit))), published && h("td", { class: "amount" }, shown(published[unit])));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Leaderboard" }, h("table", { class: "board" },
    h("thead", {}, h("tr", {}, head(term(show, layer, "Rank")), head("Unit"), head(term(show, layer, "InterpScore", own ? "Score" : "InterpScore")), head("0 to 1"), head(own ? "Bounds" : "95% interval"), names.map((name) => head(term(show, layer, name, name))), run && head("In the run"), published && head(term(show, layer, "published_InterpScore", "Published")))),
    h("tbody", {}, rows.map(row))));
}

function asCsv(layer, names, rows, weights) {
  return csv([["rank", "rank_low", "rank_high", "unit", "label", "score", "low", "high", ...names, "published", ...names.map((name) => `weight_${name}`)],
    ...rows.map(({ unit, values, score, low, high, rank, first, last }) => [rank, first, last, unit, layer.index.label[unit], score, low, high, ...names.map((name) => values[name]), layer.value("published_InterpScore", unit), ...names.map((name) => weights[name])])]);
}
