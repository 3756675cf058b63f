// Files that hold what a page shows.

import { csv, shown } from "./numbers.js";

/** Scores and pictures of a unit: one row each. */
export function csvOf(layer, known) {
  const rows = [["kind", "name", "value", "low", "high", "percentile", "concept", "source", "licence"]];
  for (const [name, score] of Object.entries(known.scores)) rows.push(["score", name, score.value, score.low, score.high]);
  if (known.label) rows.push(["label", known.label.text, known.label.score?.value, known.label.score?.low, known.label.score?.high]);
  for (const { text, score, low, high } of known.label?.runners_up ?? []) rows.push(["runner-up", text, score, low, high]);
  const pictures = (kind, list) => list.forEach((tile) => {
    const rights = layer.about.rights[tile.rights ?? -1];
    rows.push([kind, tile.image, tile.activation, null, null, tile.percentile, tile.concept, rights?.source, rights?.licence]);
  });
  pictures("top picture", known.top);
  known.strata.forEach((stratum) => pictures(`quantile ${stratum.from_quantile} to ${stratum.to_quantile}`, stratum.tiles));
  for (const { strength, effect } of known.dose ?? []) rows.push(["dose", strength, effect.value, effect.low, effect.high]);
  for (const kind of ["correlation", "weights", "effect"]) for (const { unit, value } of known.similar[kind] ?? []) rows.push([`similar by ${kind}`, unit, value]);
  return csv(rows);
}

export const bibtex = (layer) => (layer.about.citation.endsWith("\n") ? layer.about.citation : `${layer.about.citation}\n`);

/** A card of a unit: its label, its scores and its top pictures. */
export async function pngOf(layer, known) {
  const W = 1000, side = 120, across = 8, tiles = known.top.filter((tile) => layer.shows(known, tile)).slice(0, 24);
  const rows = Math.ceil(tiles.length / across), canvas = document.createElement("canvas");
  canvas.width = W;
  canvas.height = 120 + rows * (side + 4) + 40;
  const draw = canvas.getContext("2d"), font = (size, weight = 400) => { draw.font = `${weight} ${size}px system-ui, sans-serif`; };
  draw.fillStyle = "#ffffff";
  draw.fillRect(0, 0, canvas.width, canvas.height);
  draw.fillStyle = "#1a1d21";
  font(30, 650);
  draw.fillText(`Unit ${known.unit} · ${known.label?.text ?? "no label"}`.slice(0, 60), 4, 40);
  font(16);
  draw.fillText(layer.about.title.slice(0, 110), 4, 68);
  const scores = ["InterpScore", ...Object.keys(layer.about.weights)].filter((name) => known.scores[name]?.value !== null && known.scores[name] !== undefined);
  draw.fillText(scores.map((name) => `${name} ${shown(known.scores[name].value)}`).join("   "), 4, 96);
  const sprite = await layer.sprite(known.unit), { tile: pixels } = layer.about.sprite;
  if (sprite) {
    const bitmap = await createImageBitmap(await (await fetch(sprite.src)).blob());
    tiles.forEach((tile, k) => {
      const { column, row } = layer.place(known, tile);
      draw.drawImage(bitmap, column * pixels, row * pixels, pixels, pixels, 4 + (k % across) * (side + 4), 112 + Math.floor(k / across) * (side + 4), side, side);
    });
  }
  font(13);
  draw.fillStyle = "#5a5f68";
  draw.fillText(`Top pictures of ${layer.about.images.toLocaleString("en-US")}. ${layer.about.rights.map(({ source, licence }) => [source, licence].filter(Boolean).join(", ")).join("; ")}`.slice(0, 150), 4, canvas.height - 12);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
