// A bundle's files: fetched once, kept in memory, the pictures of neighbours fetched and decoded before they are asked for.

const SPRITES_KEPT = 40;
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
    if (format !== "interpscore-microscope/1") {
      throw new BundleError(`bundle.json says format ${format}; these pages read interpscore-microscope/1`);
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
    this.images = new Map();
  }

  async open() {
    this.about = await json(`${this.base}layer.json`);
    this.index = await json(this.file(this.about.index));
    this.count = this.index.unit_file.length;
    this.searched = this.index.label.map((label, unit) => [label ?? "", ...this.index.concepts[unit]].join("\n").toLowerCase());
    return this;
  }

  file(name) {
    return below(this.base, name);
  }

  unit(unit) {
    return this.units.get(unit, () => json(this.file(this.index.unit_file[unit])));
  }

  /** The sprite of a unit, being decoded; null where it cannot be loaded. */
  sprite(unit) {
    const file = this.index.sprite_file[unit];
    return file ? this.sprites.get(unit, () => picture(this.file(file)).catch(() => null)) : Promise.resolve(null);
  }

  /** The address of what stands for a unit on a wall; null where no picture of it was found. */
  thumb(unit) {
    const file = this.index.thumb_file[unit];
    return file ? this.file(file) : null;
  }

  /** An image element of a file: one that is kept and free, so that the browser asks for the file once, whatever the server says of caching. */
  image(src, make) {
    const kept = this.images.get(src), image = kept && !kept.isConnected ? kept : make();
    this.images.delete(src);
    this.images.set(src, image);
    if (this.images.size > IMAGES_KEPT) this.images.delete(this.images.keys().next().value);
    return image;
  }

  concepts() {
    this.conceptsRead ??= this.about.concepts ? json(this.file(this.about.concepts)) : Promise.resolve(null);
    return this.conceptsRead;
  }

  column(name) {
    return this.index.columns[name];
  }

  value(name, unit) {
    return this.index.columns[name]?.[unit] ?? null;
  }

  /** Fetch units that may be asked for next, when nothing else is to be done. */
  prefetch(units, window) {
    const later = window.requestIdleCallback ?? ((work) => window.setTimeout(work, 50));
    for (const unit of units) {
      if (unit < 0 || unit >= this.count) continue;
      later(() => Promise.all([this.unit(unit), this.sprite(unit)]).catch(() => null));
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

/** An image element once its file is there; `decoded` of it tells when it can be painted at once. */
function picture(url) {
  const image = new Image();
  return new Promise((there, fail) => {
    image.onload = () => there(image);
    image.onerror = () => fail(new BundleError(`${url} cannot be loaded`));
    image.src = url;
    image.decoded = image.decode().catch(() => null);
  });
}
