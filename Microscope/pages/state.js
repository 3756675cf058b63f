// What is shown is what the address says: parameters of the URL, history, and the bridge to a page around a frame.

/** Parameters that belong to one page and go when another opens; all that are not ours stay, such as Streamlit's. */
const OF_PAGES = [
  "unit", "units", "q", "sort", "order", "at", "seed", "dead", "labelled", "marked", "notable", "tile", "heat", "kind",
  "concept", "word", "weights", "by",
];
const KEPT = ["layer", "theme"];
const RANGE = /^(min|max)\./;
export const PAGES = ["browse", "unit", "similar", "concepts", "compare", "leaderboard", "atlas", "methods"];

/** The parameters of a query as an object, with the page that they mean. */
export function parse(search) {
  const params = {};
  for (const [name, value] of new URLSearchParams(search)) {
    if (OF_PAGES.includes(name) || KEPT.includes(name) || RANGE.test(name) || name === "page") params[name] ??= value;
  }
  params.page ??= params.unit !== undefined ? "unit" : params.units !== undefined ? "compare" : "browse";
  return params;
}

/** The query of a page. `changes` with `page` start from nothing; without, they change what is there; null removes. */
export function query(search, changes) {
  const params = new URLSearchParams(search);
  if (changes.page !== undefined) {
    for (const name of [...params.keys()]) {
      if (OF_PAGES.includes(name) || RANGE.test(name) || name === "page") params.delete(name);
    }
  }
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") params.delete(name);
    else params.set(name, value);
  }
  if (params.has("unit") && params.has("layer") && params.get("unit").includes(":")) params.delete("layer");
  const page = params.get("page");
  if (page === "unit" ? params.has("unit") : page === "compare" ? params.has("units") : page === "browse") params.delete("page");
  const text = params.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `?${text}`;
}

/** Where a unit is, from the address: `layer4.5:89`, or a number in the layer shown. */
export function unitOf(params, keys) {
  const text = (params.unit ?? "").trim();
  const colon = text.lastIndexOf(":");
  const layer = colon >= 0 ? text.slice(0, colon) : params.layer ?? keys[0];
  return { layer, text: text.slice(colon + 1), unit: /^\d{1,9}$/.test(text.slice(colon + 1)) ? Number(text.slice(colon + 1)) : null };
}

/** The browser's history. `changed(how)` is called with "go" or "back" after each move. */
export class Address {
  constructor(window, changed) {
    this.window = window;
    this.framed = window.parent !== window;
    this.changed = changed;
    this.listen = (event) => changed("back", event.state?.scroll ?? 0);
    this.hear = (event) => this.#fromFrame(event);
    window.addEventListener("popstate", this.listen);
    if (this.framed) window.addEventListener("message", this.hear);
  }

  get params() {
    return parse(this.window.location.search);
  }

  link(changes) {
    return query(this.window.location.search, changes);
  }

  /** Show what the changes say. In a frame the page around it keeps the history, since a frame's own goes wrong on Back. */
  go(changes, { replace = false, scroll = 0 } = {}) {
    const to = this.link(changes);
    if (to === this.window.location.search) return this.changed("go");
    const { history } = this.window;
    if (this.framed) {
      history.replaceState({}, "", to);
      const message = { stCommVersion: 1, type: "SET_QUERY_PARAM", queryParams: to };
      this.window.parent.postMessage(message, "*");
    } else if (replace) history.replaceState(history.state, "", to);
    else {
      if ((history.state?.scroll ?? 0) !== scroll) history.replaceState({ ...history.state, scroll }, "");
      history.pushState({ scroll: 0 }, "", to);
    }
    this.changed("go");
  }

  #fromFrame({ data, source }) {
    if (source !== this.window.parent || data?.type !== "UPDATE_FROM_QUERY_PARAMS") return;
    if (typeof data.queryParams !== "string") return;
    this.window.history.replaceState({}, "", `?${data.queryParams.replace(/^\?/, "")}`);
    this.changed("back", 0);
  }

  close() {
    this.window.removeEventListener("popstate", this.listen);
    this.window.removeEventListener("message", this.hear);
  }
}
