// Panes that pages are drawn in. One is shown; others are laid out before it is their turn, out of sight, so that showing them is a swap.

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

  /** Lay an element out, out of sight, while its pictures are still on their way. */
  put(element) {
    const pane = h("div", { class: "pane ahead" }, element);
    this.shown.after(pane);
    element.getBoundingClientRect();
    pane.className = ASLEEP;  // what is laid out stays so
  }

  /** Show a page's element. The page before is kept, where it has a key and no dialog is open in it, which would block the page that follows. */
  show(page) {
    const before = this.page, left = this.shown;
    this.page = page;
    if (page.element.parentNode === left) return;
    const twin = this.laid.get(page.key);
    if (twin && twin !== page) twin.element.parentNode.remove();
    this.laid.delete(page.key);
    if (!page.element.parentNode) left.after(h("div", {}, page.element));
    this.shown = page.element.parentNode;
    this.shown.className = "pane content";
    left.className = ASLEEP;
    if (before?.key && before.key !== page.key && before.element.parentNode === left && !left.querySelector("dialog[open]")) this.#keep(before);
    else left.remove();
  }

  /** Draw a page that may be asked for next, unless `still` says that nobody waits for it any more. */
  async lay(key, make, still) {
    if (this.laid.has(key)) return this.#keep(this.laid.get(key));
    const page = await make();
    if (!still() || this.laid.has(key)) return this.drop(page);
    this.#keep(page);
    page.rest?.();
  }

  /** Forget a page that was drawn for nothing. */
  drop(page) {
    if (page !== this.page && this.laid.get(page?.key) !== page) page?.element?.parentNode?.remove();
  }

  /** Draw pages anew when they are asked for again. */
  forget() {
    for (const { element } of this.laid.values()) element.parentNode.remove();
    this.laid.clear();
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
