"""A small scoring run with every file that a report can show, and a reader of the page."""

import hashlib
import json
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from Activation_Extraction.images.sets import ImageSet
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from tests.Activation_Extraction import small_stores

CONCEPTS = ("cat", "dog", "fish", "tree")
UNITS = {"0": "cat", "1": "dog", "2": "fish", "3": "tree", "4": "cat"}
NETWORK = {"weights": "toy.pt", "weights_sha256": "a" * 64}
ENDS = ("evaluation", "untrained", "untrained_sd", "untrained_higher", "untrained_best", "untrained_best_sd")


def make_run(folder, **options):
    """Score a simulated study from files; the results name a network, and have scores of untrained ones."""
    units = {unit: PlantedUnit(concept, 2.5 - 0.5 * int(unit)) for unit, concept in UNITS.items()}
    design = StudyDesign(CONCEPTS, images_per_concept=8, participants=8)
    frame = simulated_frame(simulate_table(design, units, np.random.default_rng(0)))
    frame.to_csv(folder / "data.csv", index=False)
    (folder / "map.json").write_text(json.dumps(UNITS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_interpretability_benchmark(
            folder / "data.csv", folder / "map.json", **({"resamples": 100} | options)
        )
    return result.save(folder / "results.csv")[0]


def with_network(results):
    """Add what a run with `--causality` and `--baseline` says, to the CSV and the JSON alike."""
    about = json.loads(results.with_suffix(".json").read_text())
    table = pd.read_csv(results)
    columns = [f"{score}_{end}" for score in ("S", "H", "InterpScore") for end in ENDS]
    added = pd.DataFrame(np.random.default_rng(1).random((len(table), len(columns))), columns=columns)
    for row, values in zip(about["neurons"], added.to_dict("records"), strict=True):
        row.update(values)
    about["signature"]["causality"] = [
        {"model": "toy", "layer": "layer4", "layer_aliases": ["block_4"], "provenance": NETWORK, "method": "exact"}
    ]
    about["signature"]["baseline"] = {
        "name": "untrained", "sha256": "b" * 64, "model": "toy", "networks": [{}, {}],
        "chosen_by": "effect size g", "chosen_on": "20 images", "compared_on": 12, "notes": [],
    }  # fmt: skip
    results.with_suffix(".json").write_text(json.dumps(about))
    pd.concat([table, added], axis=1).to_csv(results, index=False)
    return results


def make_pictures(folder, count=12):
    """Pictures, and a store in which unit u likes picture i by (7 u + i) modulo their number."""
    (folder / "pictures").mkdir()
    generator = np.random.default_rng(2)
    hashes = []
    for i in range(count):
        path = folder / "pictures" / f"{i}.png"
        Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8)).save(path)
        hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
    names = [f"{i}.png" for i in range(count)]
    columns = {"image": names, "concept": [CONCEPTS[i % 4] for i in range(count)]}
    images = ImageSet(pa.table(columns), "f" * 64, [], [])
    a_NU = np.array([[(7 * u + i) % count for u in range(5)] for i in range(count)], np.float32)
    with small_stores.open_writer(
        folder / "acts.zarr", {"layer4": a_NU}, images=images, identity={"model": "toy", "provenance": NETWORK}, top_k=9
    ) as writer:
        for shard in writer.missing:
            rows = slice(shard.rows.start, shard.rows.stop)
            writer.commit(shard, {"layer4": a_NU[rows]}, hashes[rows], [""] * len(shard.rows))
        writer.finish()


def make_renders(folder, units=("0", "1")):
    """Two renders of some units, and their manifest."""
    place = folder / "renders" / "toy" / "layer4"
    entries = {}
    for unit in units:
        (place / unit).mkdir(parents=True)
        for start in ("grey", "perlin"):
            Image.new("RGB", (32, 32), (40 * int(unit), 90, 90)).save(place / unit / f"{start}.png")
        entries[unit] = [
            {
                "file": f"{unit}/{start}.png", "start": start, "times_natural": 2.25, "flags": ["noisy"],
                "sha256": hashlib.sha256((place / unit / f"{start}.png").read_bytes()).hexdigest(),
            }
            for start in ("grey", "perlin")
        ]  # fmt: skip
    about = {"format": 1, "model": "toy", "layer": "layer4", "provenance": NETWORK, "units": entries}
    (place / "manifest.json").write_text(json.dumps(about))


def make_unit_tables(folder):
    """Labels and profiles of the units."""
    n = len(UNITS)
    pd.DataFrame(
        {
            "layer": "layer4", "unit": range(n), "concept": ["cat", None, "fish", "tree", "cat"], "candidate": ["cat", "fish", "fish", "tree", "cat"],
            "score": np.linspace(0.1, 0.9, n), "score_low": np.linspace(0, 0.8, n), "score_high": 1.0, "p_adjusted": 0.001,
            "polysemy": [1, 0, 2, 1, 1], "n_images": 40, "n_top": 4, "split": "half", "reason": ["", "none better than chance", "", "", ""],
        }
    ).to_parquet(folder / "labels.parquet")  # fmt: skip
    names = ("MS_top", "MS_top_chance", "MS_top_spread", "clarity", "clarity_chance", "clarity_spread", "redundancy")
    columns = {name: np.linspace(0.2, 0.7, n) for name in names}
    profile = pd.DataFrame({"unit": range(n), **columns, "redundancy_with": 3, "Notes": ""})
    profile.to_csv(folder / "profile.csv", index=False)


class Page(HTMLParser):
    """What a page says: numbers with the cells that they are of, texts, pictures, elements.

    Attributes:
        cells: (row, column, text, is a percentage, id of the section or card) of every number of the results.
        counts: name → text; spreads: (component, statistic) → text; tags: names of elements, in order; links: every
            `href` and `src`; names: texts of names from outside; bars: (row, circles' positions) in order.
    """

    VOID = ("meta", "img", "input", "br", "line", "circle", "path", "rect")

    def __init__(self, text):
        super().__init__()
        self.cells, self.counts, self.spreads, self.tags = [], {}, {}, []
        self.links, self.names, self.pictures, self.attributes, self.bars = [], [], [], [], []
        self._open, self._text = [], []
        self.feed(text)
        self.close()

    @property
    def text(self):
        return " ".join(" ".join(self._text).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes += [(tag, name) for name in attrs]
        self.links += [attrs[name] for name in ("href", "src") if name in attrs]
        if tag == "img":
            self.pictures.append(attrs)
        if tag == "circle":
            self.bars.append((self._nearest("data-row"), attrs["cx"]))
        if tag not in self.VOID:
            self._open.append((tag, attrs, []))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        while self._open:
            found, attrs, text = self._open.pop()
            said = "".join(text)
            if "data-column" in attrs:
                place = next((a["id"] for _, a, _ in reversed(self._open) if "id" in a), None)
                row = attrs.get("data-row", self._nearest("data-row"))
                self.cells.append((int(row), attrs["data-column"], said, "data-percent" in attrs, place))
            if "data-count" in attrs:
                self.counts[attrs["data-count"]] = said
            if "data-of" in attrs:
                self.spreads[attrs["data-of"], attrs["data-is"]] = said
            if found == "bdi":
                self.names.append(said)
            if self._open:
                self._open[-1][2].append(said)
            if found == tag:
                return

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)
            if self._open[-1][0] not in ("style", "script"):
                self._text.append(data)

    def _nearest(self, attribute):
        return next((attrs[attribute] for _, attrs, _ in reversed(self._open) if attribute in attrs), None)


def parsed(text):
    """The value of a shown number, and how far from it what was rounded to it may be."""
    plain = text.replace("−", "-").replace(",", "")
    mantissa, _, power = plain.partition("e")
    decimals = len(re.sub(r"^[^.]*\.?", "", mantissa))
    return float(plain), 0.5000001 * 10 ** (int(power or 0) - decimals)
