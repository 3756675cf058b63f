// "Guess the picture": which of two pictures activates the unit more. The score lives on the page alone.

import { h } from "./dom.js";
import { shown } from "./numbers.js";
import { tileImage } from "./pictures.js";

export function guess(layer, known) {
  const strata = known.strata.map((stratum) => stratum.tiles.filter((tile) => layer.shows(known, tile))).filter((list) => list.length);
  const box = h("div", { class: "guess", "data-own": true });
  if (strata.length < 2) return h("p", { class: "missing" }, "There are too few pictures to guess from.");
  let right = 0, asked = 0;
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  const pair = () => {
    const a = Math.floor(Math.random() * strata.length), b = (a + 1 + Math.floor(Math.random() * (strata.length - 1))) % strata.length;
    return [pick(strata[a]), pick(strata[b])];
  };
  const ask = () => {
    let two = pair();
    for (let tries = 0; two[0].activation === two[1].activation && tries < 50; tries++) two = pair();
    if (two[0].activation === two[1].activation) return box.replaceChildren(h("p", { class: "missing" }, "All sampled pictures activate the unit alike."));
    const more = two[0].activation > two[1].activation ? 0 : 1;
    const answer = (k) => {
      asked += 1;
      right += k === more;
      const amounts = two.map((tile, j) => h("span", { class: j === more ? "amount more" : "amount" }, shown(tile.activation)));
      buttons.forEach((button, j) => { button.disabled = true; button.append(amounts[j]); });
      const next = h("button", { type: "button", class: "primary", on: { click: ask } }, "Next");
      box.append(h("p", { role: "status", class: "verdict" }, k === more ? "Right" : "Wrong", ` · ${right} of ${asked} `, next));
    };
    const buttons = two.map((tile, k) => h("button", { type: "button", class: "tile-button", "aria-label": `The ${k ? "second" : "first"} picture`, on: { click: () => answer(k) } },
      tileImage(layer, known, tile)));
    box.replaceChildren(h("p", {}, "Which picture activates the unit more?"), h("div", { class: "two" }, buttons));
  };
  ask();
  return box;
}
