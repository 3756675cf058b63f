// A bundle's files: fetched once, kept in memory, the pictures of neighbours fetched and decoded before they are asked for.

const SPRITES_KEPT = 80;
const UNITS_KEPT = 2000;
const IMAGES_KEPT = 800;

/** What a bundle lacks or has wrong, in words for a reader. */
export class BundleError extends Error {}

/** A bundle at an address that ends with a slash. */
export class Bundle {
  constructor(base) {
    this.base = base.endsWith("/") ? base : `${base}/`;
    this.layers = new Map();
  }

  async open() {
    this.about = await json(`${this.base}bundle.json`);
    const format = this.about?.format;
    if (format !== "interpscore-microscope/2") {
      throw new BundleError(`bundle.json says format ${format}; these pages read interpscore-microscope/2`);
    }
    this.keys = this.about.layers.map((layer) => layer.key);
    return this;
  }

  /** A layer with its index, once for each. */
  layer(key) {
    if (!this.layers.has(key)) {
      const opened = new Layer(new URL(`${encodeURIComponent(key)}/`, this.base).href, key).open();
      this.layers.set(key, opened);
      opened.catch(() => this.layers.delete(key));
    }
    return this.layers.get(key);
  }

  download(file) {
    return below(this.base, file);
  }
}

class Layer {
  constructor(base, key) {
    this.base = base;
    this.key = key;
    this.units = new Kept(UNITS_KEPT);
    this.sprites = new Kept(SPRITES_KEPT);
    this.images = new Kept(IMAGES_KEPT);
    this.lost = new Set();
  }

  async open() {
    this.about = await json(`${this.base}layer.json`);
    this.index = await json(this.file(this.about.index));
    this.count = this.index.unit_file.length;
    return this;
  }

  /** Read what pages of all units need besides: `columns`, `map`, `searched`. */
  read() {
    this.reading ??= json(this.file(this.about.numbers)).then(({ columns, map, concepts }) => {
      this.searched = this.index.label.map((label, unit) => [label ?? "", ...concepts[unit]].join("\n").toLowerCase());
      Object.assign(this, { columns, map });
    });
    this.reading.catch(() => { this.reading = null; });
    return this.reading;
  }

  file(name) {
    return below(this.base, name);
  }

  unit(unit) {
    return this.units.get(unit, () => json(this.file(this.index.unit_file[unit])));
  }

  /** A sprite of a unit, once it is decoded: of its first pictures, or with "rest" of the others. One that cannot be loaded is `lost`. */
  sprite(unit, part = "sprite") {
    const file = this.index[`${part}_file`][unit];
    if (!file) return Promise.resolve(null);
    return this.sprites.get(file, () => decoded(this.file(file)).then((image) => (this.lost.delete(file), image), () => (this.lost.add(file), this.sprites.forget(file), null)));
  }

  /** Where a tile of a unit is: its file, its column and row there, and how many of each the file has. */
  place(known, { tile }) {
    const { columns, first } = this.about.sprite, later = tile >= first;
    const n = later ? known.tiles - first : Math.min(known.tiles, first), at = later ? tile - first : tile;
    return { file: this.index[later ? "rest_file" : "sprite_file"][known.unit], column: at % columns, row: Math.floor(at / columns), columns: Math.min(n, columns), rows: Math.ceil(n / columns) };
  }

  /** Whether a tile can be shown. */
  shows(known, tile) {
    return tile.tile !== null && !this.lost.has(this.place(known, tile).file);
  }

  /** The address of what stands for a unit on a wall; null where no picture of it was found. */
  thumb(unit) {
    const file = this.index.thumb_file[unit];
    return file ? this.file(file) : null;
  }

  /** Hold a file that an image element shows: the browser asks for it once, whatever the server says of caching. */
  held(image) {
    image.addEventListener("load", () => this.images.get(image.src, async () => Object.assign(new Image(), { src: image.src })), { once: true });
    return image;
  }

  concepts() {
    this.conceptsRead ??= this.about.concepts ? json(this.file(this.about.concepts)) : Promise.resolve(null);
    return this.conceptsRead;
  }

  column(name) {
    return this.columns[name];
  }

  value(name, unit) {
    return this.columns[name]?.[unit] ?? null;
  }

  /** Fetch units that may be asked for next, when nothing else is to be done. */
  prefetch(units, window) {
    const later = window.requestIdleCallback ?? ((work) => window.setTimeout(work, 50));
    for (const unit of units) {
      if (unit < 0 || unit >= this.count) continue;
      later(() => Promise.all([this.unit(unit), this.sprite(unit), this.sprite(unit, "rest")]).catch(() => null));
    }
  }
}

/** The most recently used results of work that may fail; failures are forgotten. */
class Kept {
  constructor(most) {
    this.most = most;
    this.found = new Map();
  }

  get(key, make) {
    const there = this.found.get(key) ?? make();
    this.found.delete(key);
    this.found.set(key, there);
    there.catch(() => this.found.delete(key));
    if (this.found.size > this.most) this.found.delete(this.found.keys().next().value);
    return there;
  }

  forget(key) {
    this.found.delete(key);
  }
}

/** An address below another: names in a bundle cannot lead out of it. */
function below(base, name) {
  const found = new URL(String(name).split("/").map(encodeURIComponent).join("/"), base).href;
  if (!found.startsWith(base)) throw new BundleError(`${name} is outside the bundle`);
  return found;
}

async function json(url) {
  let answer;
  try {
    answer = await fetch(url);
  } catch {
    throw new BundleError(`${url} cannot be fetched: the server does not answer, or does not allow other sites (CORS)`);
  }
  if (!answer.ok) throw new BundleError(`${url}: the server answers ${answer.status}`);
  try {
    return await answer.json();
  } catch {
    throw new BundleError(`${url} is not JSON`);
  }
}

/** An image that can be painted at once; kept, so that the browser keeps what it decoded. */
async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
