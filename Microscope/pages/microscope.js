// The explorer: mounts the pages in an element, follows the address, and keeps what all pages share.

import { Address, PAGES, unitOf } from "./state.js";
import { Bundle, BundleError } from "./data.js";
import { append, h, visible } from "./dom.js";
import { KEYS, listen } from "./keys.js";
import { distance, whole } from "./numbers.js";
import { Panes } from "./panes.js";
import { bookmarks } from "./parts.js";
import * as browse from "./browse.js";
import * as unit from "./unit.js";

/** Pages that open first come with the explorer; the others when they are asked for, or when there is time. */
const PAGE = { browse, unit };
const LATER = ["similar", "concepts", "compare", "leaderboard", "atlas", "methods"];
const load = async (page) => (PAGE[page] ??= await import(`./${page}.js`));
const NAMES = { browse: "Browse", concepts: "Concepts", leaderboard: "Leaderboard", atlas: "Atlas", compare: "Compare", methods: "Data and methods" };
const OF_UNITS = new Set(["unit", "similar"]);
const THEMES = { auto: "light", light: "dark", dark: "auto" };

/**
 * Show a bundle in `root`, an element or shadow root.
 * @param {{base: string, window: Window}} options `base`: where the bundle is, ending with a slash.
 * @returns what to call to take it down; events `microscope:shown` on `root`'s only child tell when a page is complete.
 */
export function mount(root, { base, window }) {
  const explorer = new Explorer(root, base, window);
  explorer.start();
  return () => explorer.close();
}

class Explorer {
  constructor(root, base, window) {
    this.window = window;
    this.bundle = new Bundle(new URL(base, window.document.baseURI).href);
    this.address = new Address(window, (how, scroll) => this.render(how, scroll));
    this.frame = h("div", { class: "microscope" });
    this.panes = new Panes(this.frame);
    this.live = h("p", { class: "hidden", role: "status" });
    this.pop = h("div", { class: "popover", popover: "auto" });
    root.append(this.frame);
    this.turn = 0;
    this.scrolled = 0;
    this.scrolls = ({ target }) => { if (target.contains(this.#host)) this.scrolled = (target.scrollingElement ?? target).scrollTop; };
    window.addEventListener("scroll", this.scrolls, { capture: true, passive: true });
  }

  async start() {
    this.#theme();
    append(this.frame, [h("p", { class: "loading" }, "Loading…")]);
    try {
      await this.bundle.open();
    } catch (error) {
      this.frame.replaceChildren(h("div", { class: "content" }, failure("This bundle cannot be opened", error)));
      this.#shown("failed");
      this.frame.dataset.complete = String(this.turn);
      return;
    }
    this.marks = bookmarks(this);
    this.#build();
    this.stop = listen(this.window.document, {
      "/": () => this.search.focus(),
      "?": () => this.help.showModal(),
      g: () => this.#goTo(),
      b: () => this.bookmark(),
      r: () => this.random(),
      ArrowLeft: () => this.#step(-1),
      ArrowRight: () => this.#step(1),
    });
    await this.render("start");
    this.window.setTimeout(() => [...LATER.map(load), this.layer?.read()].forEach((each) => each?.catch(() => null)), 1500);
  }

  close() {
    this.stop?.();
    this.window.removeEventListener("scroll", this.scrolls, { capture: true });
    this.address.close();
    this.frame.remove();
  }

  // What pages use ---------------------------------------------------------------------------------------------------

  get params() {
    return this.address.params;
  }

  /** Where the page is that is shown. */
  get content() {
    return this.panes.shown;
  }

  /** A link within the explorer: an address that can be opened elsewhere, followed here without loading anything. */
  link(changes, props, ...children) {
    if (typeof props === "string" || props?.nodeType) [children, props] = [[props, ...children], {}];
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
      event.preventDefault();
      this.go(changes);
    };
    return h("a", { ...props, href: this.address.link(changes), on: { click: follow } }, ...children);
  }

  go(changes, options = {}) {
    this.top = options.top ?? changes.page !== undefined;
    this.address.go(changes, { ...options, scroll: this.scrolled });  // to ask the window now would lay the page out
  }

  popover(anchor, ...children) {
    this.pop.replaceChildren();
    append(this.pop, children);
    this.pop.showPopover();
    const at = anchor.getBoundingClientRect(), size = this.pop.getBoundingClientRect(), { innerWidth, innerHeight } = this.window;
    const below = at.bottom + 6 + size.height < innerHeight;
    this.pop.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    this.pop.style.top = `${Math.max(8, below ? at.bottom + 6 : at.top - size.height - 6)}px`;
  }

  say(text) {
    this.live.textContent = text;
  }

  bookmark() {
    if (!this.here || !OF_UNITS.has(this.params.page)) return;
    const marked = this.marks.toggle(`${this.here.layer}:${this.here.unit}`);
    this.panes.forget();
    this.say(marked ? `Unit ${this.here.unit} is bookmarked` : "Bookmark removed");
    this.render("same");
  }

  random() {
    if (this.layer?.count) this.go({ page: "unit", unit: `${this.layer.key}:${Math.floor(Math.random() * this.layer.count)}` });
  }

  // Showing a page ---------------------------------------------------------------------------------------------------

  async render(how, scroll = 0) {
    const turn = ++this.turn, params = this.params, before = this.shownParams;
    if (!this.content.isConnected) return;
    this.#theme();
    if (this.pop.matches(":popover-open")) this.pop.hidePopover();
    const slow = this.window.setTimeout(() => this.frame.classList.add("waiting"), 150);
    const focused = nameOf(this.#focused());
    let page;
    try {
      page = await this.#page(params, before);
    } catch (error) {
      page = { element: failure("This page cannot be shown", error), title: "Error" };
      if (!(error instanceof BundleError)) this.window.console.error(error);
    } finally {
      this.window.clearTimeout(slow);
      if (turn === this.turn) this.frame.classList.remove("waiting");
    }
    if (turn !== this.turn) return this.panes.drop(page);
    this.shownParams = params;
    if (page.element) this.panes.show(page);
    page.draw?.();
    page.after?.();
    if (page.title) this.#entitle(page.title, params);
    this.window.requestAnimationFrame(() => turn === this.turn && this.#focus(focused, params, before));  // sooner, it would lay the page out twice
    if (how === "back") {
      await page.rest?.();
      if (turn !== this.turn) return this.#complete(turn, page);
      this.#later(page);
      this.#scroller().scrollTop = scroll;
    }
    if (how === "go" && this.top && (before?.page !== params.page || params.page !== "unit")) this.#scroller().scrollTop = 0;
    this.#header(params);
    this.#shown(params.page);
    if (how !== "back" && page.later) this.#whenIdle(() => this.#complete(turn, page));
    else this.#complete(turn, page);
  }

  /** What lies below the window's edge is drawn once the frame with the rest is. */
  #whenIdle(work) {
    if (this.window.requestIdleCallback) this.window.requestIdleCallback(work, { timeout: 120 });
    else this.window.setTimeout(work, 30);
  }

  async #complete(turn, page) {
    await page.rest?.();
    const still = () => this.panes.page === page;  // also where a picture was enlarged meanwhile, which is a turn of its own
    if (turn !== this.turn && !still()) return;
    this.#later(page);
    if (turn === this.turn) this.frame.dataset.complete = String(turn);
    for (const [key, make] of page.ahead?.() ?? []) this.#whenIdle(() => still() && this.panes.lay(key, make, still).catch(() => null));
  }

  #later(page) {
    page.later?.();
    page.later = null;
  }

  async #page(params, before) {
    if (!this.bundle.keys.length) return { element: friendly("This bundle has no layers", h("p", {}, "Build one from activation stores with ", h("code", {}, "interpscore microscope build"), ".")), title: "Empty bundle" };
    if (!PAGES.includes(params.page)) return this.#wrongPage(params.page);
    const wanted = unitOf(params, this.bundle.keys);
    const key = OF_UNITS.has(params.page) ? wanted.layer : params.layer ?? this.layer?.key ?? this.bundle.keys[0];
    if (!this.bundle.keys.includes(key)) return this.#wrongLayer(key, wanted.text);
    const layer = await this.bundle.layer(key);
    this.layer = layer;
    if (!OF_UNITS.has(params.page)) await layer.read();
    if (!layer.count) return { element: friendly(`${layer.about.title} has no units`), title: "Empty layer" };
    if (OF_UNITS.has(params.page)) {
      if (params.unit === undefined) wanted.unit = this.here?.layer === key ? this.here.unit : 0;
      if (wanted.unit === null || wanted.unit >= layer.count) return this.#wrongUnit(layer, wanted.text);
      this.here = { layer: key, unit: wanted.unit };
    }
    const page = await load(params.page);
    const changed = before?.page === params.page ? await page.update?.(this, layer, params, before, this.content) : null;
    return changed ?? page.render(this, layer, params);
  }

  #entitle(title, params) {
    this.content.dataset.page = params.page;
    this.live.textContent = title;
    this.window.document.title = `${title} · ${this.bundle.about.title}`;
  }

  #focused() {
    return this.frame.getRootNode().activeElement;
  }

  /** Keep the focus on the control that was used, where it was drawn again; on another page, start at its heading. */
  #focus(name, params, before) {
    const now = this.#focused();
    if (name && nameOf(now) !== name) [...this.content.querySelectorAll("[data-focus], [data-tile]")].find((each) => nameOf(each) === name)?.focus({ preventScroll: true });
    else if (!name && before && before.page !== params.page && now !== this.search) this.content.querySelector("h1")?.focus({ preventScroll: true });
  }

  #wrongUnit(layer, text) {
    const n = Number(text), nearest = Number.isFinite(n) && text !== "" ? Math.max(0, Math.min(layer.count - 1, Math.round(n))) : 0;
    return { title: "No such unit", element: friendly(`There is no unit ${visible(text).slice(0, 80)} in ${layer.key}`,
      h("p", {}, `Units of this layer are numbered 0 to ${whole(layer.count - 1)}.`),
      h("p", { class: "actions" }, this.link({ page: "unit", unit: `${layer.key}:${nearest}` }, { class: "button" }, `Unit ${nearest}`),
        !Number.isFinite(n) && text && this.link({ page: "browse", q: text }, { class: "button" }, `Search for “${visible(text).slice(0, 40)}”`),
        this.link({ page: "browse" }, { class: "button" }, "Browse all units"))) };
  }

  #wrongLayer(key, text) {
    const [nearest] = [...this.bundle.keys].sort((a, b) => distance(a, key.slice(0, 200)) - distance(b, key.slice(0, 200)));
    return { title: "No such layer", element: friendly(`There is no layer ${visible(key).slice(0, 80)} in this bundle`,
      h("p", {}, "It has ", visible(this.bundle.keys.join(", ")), "."),
      h("p", { class: "actions" }, this.link({ page: "browse", layer: nearest }, { class: "button" }, `Browse ${nearest}`),
        /^\d+$/.test(text) && this.link({ page: "unit", unit: `${nearest}:${text}` }, { class: "button" }, `Unit ${nearest}:${text}`))) };
  }

  #wrongPage(name) {
    return { title: "No such page", element: friendly(`There is no page ${visible(name).slice(0, 80)}`,
      h("p", { class: "actions" }, this.link({ page: "browse" }, { class: "button" }, "Browse all units"))) };
  }

  // The frame --------------------------------------------------------------------------------------------------------

  #build() {
    const typed = () => {
      const typing = this.params.page === "browse" && this.params.q !== undefined;
      const changes = { q: this.search.value.trim() || null, at: null };
      this.go(this.params.page === "browse" ? changes : { page: "browse", ...changes }, { replace: typing });
    };
    this.search = h("input", { type: "search", placeholder: "Search labels and concepts", "aria-label": "Search labels and concepts", autocomplete: "off", spellcheck: "false", on: { input: typed } });
    const form = h("form", { class: "search", role: "search", on: { submit: (event) => { event.preventDefault(); this.#found(); } } }, this.search);
    this.links = new Map(Object.entries(NAMES).map(([page, name]) => [page, this.link({ page }, name)]));
    this.nav = h("nav", { "aria-label": "Pages of the explorer", class: "tabs" }, ...this.links.values());
    this.chooser = h("span", { class: "chooser" });
    this.themeButton = h("button", { type: "button", class: "plain", on: { click: () => this.#nextTheme() } });
    this.help = dialog("Keys", h("dl", { class: "keys" }, KEYS.map(([key, words]) => [h("dt", {}, key.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, words)])));
    this.number = h("input", { type: "text", inputmode: "numeric", "aria-label": "Number of the unit", autocomplete: "off" });
    this.asks = dialog("Go to a unit", h("form", { class: "row", on: { submit: (event) => { event.preventDefault(); this.asks.close(); this.#went(this.number.value.trim()); } } }, this.number, h("button", { class: "primary" }, "Go")));
    this.frame.replaceChildren(
      h("header", { class: "bar" },
        this.link({ page: "browse" }, { class: "brand" }, lens(), h("span", {}, this.bundle.about.title)),
        this.nav, form,
        h("div", { class: "tools" }, this.chooser, this.themeButton, h("button", { type: "button", class: "plain", "aria-label": "Keys", on: { click: () => this.help.showModal() } }, "?"))),
      this.bundle.about.participants_simulated && h("p", { class: "notice" }, "Participants of this bundle are simulated: H, and the InterpScore with it, show how the tools work and nothing about people."),
      this.content, this.live, this.pop, this.help, this.asks);
    [...this.frame.childNodes].filter((node) => node.nodeType === 3).forEach((node) => node.remove());
  }

  #header(params) {
    const current = (page) => page === params.page || (page === "browse" && OF_UNITS.has(params.page));
    for (const [page, link] of this.links) {
      const there = this.address.link({ page });
      if (link.getAttribute("href") !== there) link.setAttribute("href", there);
      if (!current(page)) link.removeAttribute("aria-current");
      else if (!link.hasAttribute("aria-current")) link.setAttribute("aria-current", "page");
    }
    const here = this.links.get(params.page);
    if (here && this.navAt !== params.page) this.nav.scrollLeft = here.offsetLeft - this.nav.offsetLeft - 40;
    this.navAt = params.page;
    const chosen = (event) => this.go({ page: OF_UNITS.has(params.page) ? "browse" : params.page, layer: event.target.value });
    if (this.bundle.keys.length > 1) {
      this.chooser.replaceChildren(h("select", { "aria-label": "Layer", on: { change: chosen } },
        this.bundle.about.layers.map(({ key, model, layer }) => h("option", { value: key, selected: key === this.layer?.key }, visible(`${model} · ${layer}`)))));
    }
    if (this.#focused() !== this.search) this.search.value = params.page === "browse" ? params.q ?? "" : "";
  }

  /** Enter in the search box: a number opens that unit. */
  #found() {
    const text = this.search.value.trim();
    if (/^(\S+:)?\d+$/.test(text)) this.#went(text);
    else this.content.querySelector(".card")?.focus();
  }

  #went(text) {
    if (text) this.go({ page: "unit", unit: text.includes(":") || !this.layer ? text : `${this.layer.key}:${text}` });
  }

  #goTo() {
    this.number.value = "";
    this.asks.showModal();
  }

  #step(by) {
    if (!OF_UNITS.has(this.params.page) || !this.here || !this.layer) return;
    const to = this.here.unit + by;
    if (to >= 0 && to < this.layer.count) this.go({ unit: `${this.layer.key}:${to}`, tile: null });
  }

  // The theme --------------------------------------------------------------------------------------------------------

  get #wanted() {
    let kept = null;
    try { kept = this.window.localStorage.getItem("microscope:theme"); } catch { /* a browser that keeps nothing */ }
    const wanted = this.params.theme ?? kept;
    return wanted in THEMES ? wanted : "auto";
  }

  #nextTheme() {
    const next = THEMES[this.#wanted];
    try { this.window.localStorage.setItem("microscope:theme", next); } catch { /* a browser that keeps nothing */ }
    this.go({ theme: next === "auto" ? null : next }, { replace: true });
    this.render("same");
  }

  #theme() {
    const theme = this.#wanted;
    if (this.frame.dataset.theme !== theme) this.frame.dataset.theme = theme;
    if (!this.themeButton || this.themeButton.dataset.theme === theme) return;
    this.themeButton.dataset.theme = theme;
    this.themeButton.textContent = { auto: "◐", light: "☀", dark: "☾" }[theme];
    this.themeButton.setAttribute("aria-label", `Colours: ${{ auto: "as the system", light: "light", dark: "dark" }[theme]}`);
  }

  // What scrolls: the window, or a part of the page around us ---------------------------------------------------------

  get #host() {
    return this.frame.getRootNode().host ?? this.frame;
  }

  #scroller() {
    let node = this.frame;
    while ((node = node.parentElement ?? node.getRootNode().host)) {
      if (node.scrollHeight > node.clientHeight + 1 && /auto|scroll/.test(this.window.getComputedStyle(node).overflowY)) return node;
    }
    return this.window.document.scrollingElement;
  }

  #shown(page) {
    this.frame.dataset.shown = String(this.turn);
    this.frame.dispatchEvent(new CustomEvent("microscope:shown", { bubbles: true, composed: true, detail: { page, turn: this.turn } }));
  }
}

/** What a control is called where a page is drawn again. */
const nameOf = (element) => element?.dataset?.focus ?? element?.dataset?.tile;

function dialog(heading, ...children) {
  const box = h("dialog", { "aria-label": heading }, h("h2", {}, heading), children, h("form", { method: "dialog" }, h("button", {}, "Close")));
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  return box;
}

function friendly(heading, ...children) {
  return h("div", { class: "friendly" }, h("h1", { tabindex: -1 }, heading), children);
}

function failure(heading, error) {
  return friendly(heading, h("p", {}, visible(error.message)));
}

function lens() {
  const NS = "http://www.w3.org/2000/svg", svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(NS, "path");
  path.setAttribute("d", "M10 3a7 7 0 1 0 0 14a7 7 0 0 0 0-14M15.2 15.2L21 21M10 7a3 3 0 0 1 3 3");
  svg.append(path);
  return svg;
}
