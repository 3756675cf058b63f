// Panes that pages are drawn in. One is shown; those that may be asked for next are laid out ahead, out of sight, so that showing them is a swap.

import { h } from "./dom.js";

const KEPT = 4, ASLEEP = "pane ahead asleep";

export class Panes {
  constructor(frame) {
    this.frame = frame;
    this.shown = h("div", { class: "pane content" });
    this.page = null;
    this.laid = new Map();
  }

  /** The page of a key that is laid out and not shown. */
  find(key) {
    return this.laid.get(key) ?? null;
  }

  /** Show a page's element: laid out ahead, new, or shown already and changed in place. The page before is laid by, where it has a key. */
  show(page) {
    const before = this.page, left = this.shown, ahead = this.laid.get(page.key) === page;
    this.page = page;
    if (page.element.parentNode === left) return;
    this.laid.delete(page.key);
    this.shown = ahead ? page.element.parentNode : h("div", {}, page.element);
    if (!ahead) left.after(this.shown);
    this.shown.className = "pane content";
    left.className = ASLEEP;
    if (before?.key && before.key !== page.key && before.element.parentNode === left) this.#keep(before);
    else left.remove();
  }

  /** Draw pages anew when they are asked for again. */
  forget() {
    for (const { element } of this.laid.values()) element.parentNode.remove();
    this.laid.clear();
  }

  /** Let the browser lay out the page that `make` draws, unless `still` says that nobody waits for it any more. */
  async lay(key, make, still) {
    if (this.laid.has(key)) return this.#keep(this.laid.get(key));
    const page = await make();
    if (!still()) return;
    const pane = h("div", { class: "pane ahead" }, page.element);
    this.shown.after(pane);
    requestAnimationFrame(() => setTimeout(() => { if (pane !== this.shown) pane.className = ASLEEP; }));  // what has been laid out stays so
    this.#keep(page);
    page.rest?.();
  }

  #keep(page) {
    this.laid.delete(page.key);
    this.laid.set(page.key, page);
    if (this.laid.size <= KEPT) return;
    const [oldest] = this.laid.values();
    this.laid.delete(oldest.key);
    oldest.element.parentNode.remove();
  }
}
