// Pictures of a unit from its sprites: tiles, heat maps, and a tile enlarged.

import { h, visible } from "./dom.js";
import { percentile, shown } from "./numbers.js";

/** A tile as a block whose background is its part of a sprite. */
export function tileImage(layer, known, tile, { heat = false } = {}) {
  if (tile.tile === null) return h("span", { class: "tile unreadable", role: "img", "aria-label": `${visible(tile.image)} could not be read` }, "unreadable");
  if (!layer.shows(known, tile)) return h("span", { class: "tile unreadable", role: "img", "aria-label": "pictures cannot be loaded" }, "no picture");
  const { file, column, row, columns, rows } = layer.place(known, tile), share = (k, n) => `${n > 1 ? (k / (n - 1)) * 100 : 0}%`;
  return h("span", { class: "tile", style: { background: `url("${layer.file(file)}") ${share(column, columns)} ${share(row, rows)} / ${columns * 100}% ${rows * 100}%` } }, heat && tile.heat && heatMap(tile));
}

/** Where in the picture the unit fires, over the picture. */
function heatMap(tile) {
  const [rows, columns] = tile.heat_shape, canvas = h("canvas", { class: "heat", width: columns, height: rows, "data-own": true });
  const values = Uint8Array.from(atob(tile.heat), (c) => c.charCodeAt(0));
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let k = 0; k < rows * columns; k++) {
    const v = values[k] / 255;
    pixels.data.set([255, Math.round(225 - 150 * v), Math.round(60 - 40 * v), Math.round(20 + 190 * v)], k * 4);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

export const words = (tile) => `${visible(tile.image)}: activation ${shown(tile.activation)}, above ${percentile(tile.percentile)} of pictures`;

/** Tiles of one list as buttons that enlarge them. `place`: of the list in the address, such as `top`. */
export function tiles(show, layer, known, list, place, { heat } = {}) {
  const opened = (event) => {
    const button = event.target.closest("[data-tile]");
    if (button) show.go({ tile: button.dataset.tile });
  };
  return h("ul", { class: "tiles", on: { click: opened } }, list.map((tile, k) => {
    const item = TILE.cloneNode(true), button = item.firstChild;
    button.title = words(tile);
    button.dataset.tile = `${place}-${k}`;
    button.prepend(tileImage(layer, known, tile, { heat }));
    button.lastChild.textContent = shown(tile.activation);
    return item;
  }));
}

const TILE = h("li", {}, h("button", { type: "button", class: "tile-button" }, h("span", { class: "amount" })));

/** The list of tiles that a place such as `top-3` or `s2-0` is in, with the tile. */
export function tileAt(known, place) {
  const [, list, k] = /^(top|s\d+)-(\d+)$/.exec(place ?? "") ?? [];
  if (!list) return null;
  const of = list === "top" ? known.top : known.strata[Number(list.slice(1))]?.tiles;
  return of?.[Number(k)] ? { list, of, k: Number(k), tile: of[Number(k)] } : null;
}

/** A picture enlarged, with what is known of it; its neighbours by the arrow keys. */
export function lightbox(show, layer, known) {
  const box = h("dialog", { class: "lightbox", "aria-label": "Picture", "data-own": true });
  const close = () => { if (tileAt(known, show.params.tile)) show.go({ tile: null }, { replace: true }); };
  box.addEventListener("close", close);
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("keydown", (event) => { const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]; if (by) { event.preventDefault(); move(by); } });
  const move = (by) => {
    const at = tileAt(known, show.params.tile);
    if (at?.of[at.k + by]) show.go({ tile: `${at.list}-${at.k + by}` }, { replace: true });
  };
  const draw = (params) => {
    const at = tileAt(known, params.tile);
    if (!at) return box.open && box.close();
    const { tile } = at, rights = layer.about.rights[tile.rights ?? -1];
    const heat = params.heat === "1";
    const rows = [["Activation", shown(tile.activation)], ["Percentile", `above ${percentile(tile.percentile)} of all pictures`], tile.concept !== null && ["Concept", visible(tile.concept)],
      ["Source", visible(rights?.source ?? "not stated")], ["Licence", visible(rights?.licence ?? "not stated")]].filter(Boolean);
    box.replaceChildren(
      h("div", { class: "large" }, tileImage(layer, known, tile, { heat })),
      h("div", { class: "beside" }, h("h2", {}, visible(tile.image)), h("dl", {}, rows.map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])),
        h("div", { class: "row" },
          h("button", { type: "button", "aria-label": "Previous picture", disabled: !at.k, on: { click: () => move(-1) } }, "←"),
          h("button", { type: "button", "aria-label": "Next picture", disabled: at.k + 1 === at.of.length, on: { click: () => move(1) } }, "→"),
          tile.heat && h("button", { type: "button", "aria-pressed": String(heat), on: { click: () => show.go({ heat: heat ? null : "1" }, { replace: true }) } }, "Where it fires"),
          h("button", { type: "button", class: "primary", on: { click: () => box.close() } }, "Close"))));
    if (!box.open && box.isConnected) box.showModal();
  };
  return { box, draw };
}
