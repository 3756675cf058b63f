"""Bundles of any size made from the format's models: coloured tiles, plausible numbers, every field in use."""

from __future__ import annotations

import base64
import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from Microscope.bundle import format as f

CONCEPTS = ("fire", "puppies", "trump", "spider", "ocean", "bread", "snow", "wheels")
TOP, STRATA, PER_STRATUM = 40, 6, 10
SCORES = ("S", "C", "R", "H")
COLUMNS = {
    "S": ("Selectivity", "Chance that a picture of the concept activates the unit more than another, 0 to 1.", "Φ(g / √2)", "1"),
    "C": ("Causality", "How much the embedding changes when the unit is scaled, 0 to 1.", "1 − exp(−½ (Δ₀ + Δ₂))", "2"),
    "R": ("Robustness", "How stable the activation is across levels, 0 to 1.", "mean of min(r, 1/r)", "3"),
    "H": ("Human alignment", "Share of high-activation pictures that people recognise, 0 to 1.", "mean h where a > θ", "4"),
    "InterpScore": ("InterpScore", "Weighted mean of S, C, R and H, 0 to 1.", "Σ w X / Σ w", "5"),
    "Rank": ("Rank", "1 is the highest InterpScore.", None, "5"),
    "MS": ("Monosemanticity", "Mean similarity of pictures, weighted by activation.", "mean of ã ã cos(e, e)", "9"),
    "sparsity": ("Sparsity", "Treves-Rolls, 0 to 1.", "1 − (mean a)² / mean a²", "9"),
    "entropy": ("Entropy", "Of the scaled activations, 0 to 1.", "−Σ p log p / log n", "9"),
    "redundancy": ("Redundancy", "Largest cosine with another unit's mean embedding.", None, "9"),
    "polysemy": ("Polysemy", "Concepts that the label needs.", None, "10"),
    "label_score": ("Label score", "AUPRC above chance on the evaluation half.", "P·R + π(1 − R) − chance", "8"),
    "dead": ("Dead", "1 where the unit is never above 0.", None, None),
    "mean": ("Mean activation", "Over all pictures.", None, None),
    "times_natural": ("Best render", "Activation of the best render divided by that of the best natural picture.", None, None),
    "published_InterpScore": ("Published InterpScore", "As published.", None, None),
    "similar_correlation": ("Correlation", "Of activations over all pictures, −1 to 1.", "Pearson", None),
    "similar_weights": ("Weight cosine", "Cosine of incoming weights.", None, None),
    "similar_effect": ("Effect cosine", "Cosine of mean changes of the embedding.", None, None),
    "dose": ("Dose", "Relative change of the embedding.", "‖E_λ − E‖ / ‖E‖", "2"),
    "activation": ("Activation", "Spatial mean of the unit.", None, "0"),
    "percentile": ("Percentile", "Share of all pictures below, ties ½.", None, None),
}  # fmt: skip


NOTHING = {
    "label": None, "scores": {}, "notes": [], "top": [], "strata": [], "histogram": [0] * 64, "minimum": None, "maximum": None,
    "mean": None, "inactive": None, "renders": [], "dose": None, "clusters": None,
    "similar": f.Similar(correlation=None, weights=None, effect=None),
}  # fmt: skip
"""What is known of a unit of which nothing is."""


def make_bundle(
    folder, units=24, images=5000, tile=32, layers=("layer4.5",), names=CONCEPTS, distinct=8, seed=0, bare=False
):
    """Write a bundle and give its folder. `names`: of concepts, labels and pictures; `distinct`: different sprites; `bare`: nothing measured, no picture found."""
    folder = Path(folder)
    (folder / "downloads").mkdir(parents=True)
    entries = []
    for number, key in enumerate(layers):
        (folder / key).mkdir(parents=True)
        _Layer(folder / key, key, units, images, tile, list(names), distinct, seed + number, bare).write()
        entries.append(f.LayerEntry(key=key, model="clip-mini", layer=key, units=units, images=images))
    bundle = f.Bundle(
        title="Made bundle", layers=entries, participants_simulated=True, made_with={"interpscore": "0.1.0"}
    )
    (folder / "bundle.json").write_bytes(as_json(bundle))
    return folder


def as_json(part):
    """A model as the bundle keeps it."""
    return json.dumps(part.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")).encode()


def hashed(folder, stem, ending, content):
    """Write a file whose name has its hash; the name."""
    name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


class _Layer:
    def __init__(self, folder, key, units, images, tile, names, distinct, seed, bare):
        self.folder, self.key, self.units, self.images, self.tile, self.names = folder, key, units, images, tile, names
        self.rng, self.bare = np.random.default_rng(seed), bare
        self.sprites = [webp(tiles(self.rng, tile, 10, TOP // 10)) for _ in range(min(distinct, units))]
        self.rests = [webp(tiles(self.rng, tile, 10, STRATA * PER_STRATUM // 10)) for _ in range(min(distinct, units))]
        self.thumbs = [webp(tiles(self.rng, tile, 1, 1)) for _ in range(min(distinct, units))]
        self.numbers = {name: np.round(self.rng.uniform(0.1, 0.9, units), 4) for name in COLUMNS if name in (*SCORES, "MS", "sparsity", "entropy", "redundancy", "label_score")}  # fmt: skip
        weights = dict(zip(SCORES, (0.3, 0.3, 0.2, 0.2)))
        score = np.round(sum(weight * self.numbers[name] for name, weight in weights.items()), 4)
        order = np.argsort(np.argsort(-score)) + 1
        self.weights = weights
        dead = (np.arange(units) % 11 == 7).astype(float)
        self.labelled = [self.names[u % len(self.names)] if u % 3 != 2 else None for u in range(units)]
        self.numbers |= {
            "InterpScore": score, "Rank": order.astype(float), "dead": dead, "mean": np.round(self.rng.gamma(2, 0.1, units), 4),
            "polysemy": (np.arange(units) % 3 + 1.0) * [label is not None for label in self.labelled],
            "times_natural": np.round(self.rng.uniform(0.5, 4, units), 3),
            "published_InterpScore": np.where(np.arange(units) < 10, np.round(score * 0.9, 4), np.nan),
        }  # fmt: skip
        for name in (*SCORES, "InterpScore"):
            self.numbers[name + "_low"] = np.round(np.clip(self.numbers[name] - 0.08, 0, 1), 4)
            self.numbers[name + "_high"] = np.round(np.clip(self.numbers[name] + 0.06, 0, 1), 4)
        self.numbers["Rank_low"] = np.maximum(order - 3.0, 1)
        self.numbers["Rank_high"] = np.minimum(order + 4.0, units)

    def write(self):
        files = [self.unit(u) for u in range(self.units)]
        index = f.Index(
            unit_file=[each[0] for each in files],
            sprite_file=[each[1] for each in files],
            rest_file=[each[2] for each in files],
            thumb_file=[each[3] for each in files],
            label=[None] * self.units if self.bare else self.labelled,
        )
        numbers = f.Numbers(
            concepts=[[self.name(u), self.name(u + 1)] for u in range(self.units)],
            columns={name: [none(value) for value in values.tolist()] for name, values in self.numbers.items()},
            map={axis: np.round(self.rng.uniform(0, 1, self.units), 4).tolist() for axis in ("x", "y")},
        )  # fmt: skip
        if self.bare:
            numbers = f.Numbers(columns={}, map=None, concepts=[[]] * self.units)
        concepts = None if self.bare else hashed(self.folder, "concepts", "json", as_json(self.concepts()))
        files = {
            name: hashed(self.folder, name, "json", as_json(part))
            for name, part in (("index", index), ("numbers", numbers))
        }
        layer = self.layer(files, concepts)
        (self.folder / "layer.json").write_bytes(as_json(layer))

    def name(self, number):
        return self.names[number % len(self.names)]

    def unit(self, u):
        # Bytes after the end of a WebP picture are not read: files that differ, from few pictures.
        mark = f"{self.key}:{u}".encode()
        sprite = hashed(self.folder, f"sprites/{u}", "webp", self.sprites[u % len(self.sprites)] + mark)
        rest = hashed(self.folder, f"rest/{u}", "webp", self.rests[u % len(self.rests)] + mark)
        thumb = hashed(self.folder, f"thumbs/{u}", "webp", self.thumbs[u % len(self.thumbs)] + mark)
        render = hashed(self.folder, f"renders/{u}_0", "webp", self.thumbs[-1 - u % len(self.thumbs)] + mark)
        known = self.known(u, render)
        content = as_json(known.model_copy(update=NOTHING) if self.bare else known)
        return hashed(self.folder, f"units/{u}", "json", content), sprite, rest, thumb

    def known(self, u, render):
        activations = np.sort(self.rng.gamma(1.0, 1.0, 200))[::-1]
        top = [self.picture(i, activations[i], 100 - i / self.images * 100) for i in range(TOP)]
        strata = []
        for k in range(STRATA):
            of = [
                self.picture(TOP + k * PER_STRATUM + i, (k + i / PER_STRATUM) / 3, (k + i / PER_STRATUM) / STRATA * 100)
                for i in range(PER_STRATUM)
            ]
            strata.append(f.Stratum(from_quantile=k / STRATA, to_quantile=(k + 1) / STRATA, low=k / 3, high=(k + 1) / 3, tiles=of))  # fmt: skip
        scores = {name: self.interval(name, u) for name in (*SCORES, "InterpScore")}
        scores["H"] = scores["H"] if u % 5 else f.Interval(value=None, why="no rating of a high-activation image")
        scores |= {name: f.Interval(value=none(float(self.numbers[name][u])), untrained=0.2, untrained_higher=0.1) for name in ("MS", "sparsity", "entropy")}  # fmt: skip
        scores["Rank"] = f.Interval(value=float(self.numbers["Rank"][u]), low=float(self.numbers["Rank_low"][u]), high=float(self.numbers["Rank_high"][u]))  # fmt: skip
        others = [v for v in ((u + k) % self.units for k in range(1, 9)) if v != u]
        near = [f.Neighbour(unit=v, value=round(0.9 - 0.1 * k, 3)) for k, v in enumerate(others)]
        counts = (self.images * np.exp(-np.arange(64) / 8) / 8.5).astype(int)
        counts[0] += self.images - counts.sum()
        return f.Unit(
            tiles=TOP + STRATA * PER_STRATUM,
            unit=u, layer=self.key, label=self.label(u), scores=scores, notes=["S rests on 8 images."], top=top, strata=strata,
            histogram=counts.tolist(), minimum=0.0, maximum=round(float(activations[0]), 4), mean=float(self.numbers["mean"][u]),
            inactive=0.4, unreadable=0,
            renders=[f.Render(file=render, side=96, start="noise", facet="photo", activation=8.1, times_natural=float(self.numbers["times_natural"][u]), flags=[], recipe="default")],
            similar=f.Similar(correlation=near, weights=near[::-1], effect=None, edges=[(others[0], others[1], 0.5), (others[1], others[2], 0.3)] if len(others) > 2 else []),
            dose=[f.Dose(strength=x, effect=f.Interval(value=abs(x - 1) / 9, low=abs(x - 1) / 10, high=abs(x - 1) / 8)) for x in (0, 0.5, 1, 2, 4)],
            clusters=[f.Cluster(size=25, concept=self.name(u)), f.Cluster(size=15, concept=self.name(u + 1))],
        )  # fmt: skip

    def picture(self, tile, activation, percentile):
        heat = base64.b64encode(bytes((np.indices((4, 4)).sum(0).ravel() * 40).astype(np.uint8))).decode()
        return f.Tile(
            tile=tile, image=f"{self.name(tile)}_{tile}.png", activation=round(float(activation), 4),
            percentile=round(float(percentile), 3), concept=self.name(tile // 3), rights=0,
            heat=heat if tile < 8 else None, heat_shape=(4, 4) if tile < 8 else None, cluster=int(tile >= 25) if tile < TOP else None,
        )  # fmt: skip

    def interval(self, name, u):
        low, high = float(self.numbers[name + "_low"][u]), float(self.numbers[name + "_high"][u])
        return f.Interval(value=float(self.numbers[name][u]), low=low, high=high, chance=0.5 if name == "S" else None, untrained=0.4, n="8 images of the concept, 88 others")  # fmt: skip

    def label(self, u):
        if self.labelled[u] is None:
            return f.Label(text=None, source="labels of images, evaluation half", why="none better than chance")
        score = f.Interval(
            value=float(self.numbers["label_score"][u]), low=0.1, high=0.95, p_adjusted=0.002, significant=True
        )
        runners = [f.RunnerUp(text=self.name(u + k), score=round(0.3 / k, 3), low=0.05, high=0.5) for k in (1, 2)]
        return f.Label(
            text=self.labelled[u], source="labels of images, evaluation half", score=score, runners_up=runners,
            prediction_set=[self.name(u), self.name(u + 1)], needs=[self.name(u + 1)], polysemy=int(self.numbers["polysemy"][u]),
        )  # fmt: skip

    def concepts(self):
        best = np.argsort(-self.numbers["label_score"])[:50]
        entries = [
            f.ConceptEntry(
                name=name, images=30, units=best.tolist(), score=self.numbers["label_score"][best].tolist(),
                labelled=[u for u in range(self.units) if self.labelled[u] == name],
            )
            for name in dict.fromkeys(self.names)
        ]  # fmt: skip
        words = f.Words(
            model="clip-mini", template="a photo of a ⟨word⟩", vocabulary=["flame", "dog", "sea"],
            units=[best[k : k + 5].tolist() for k in range(3)], score=[[0.3, 0.2, 0.1, 0.05, 0.01][: len(best[k : k + 5])] for k in range(3)],
        )  # fmt: skip
        return f.Concepts(ranked_by="AUPRC above chance, evaluation half", concepts=entries, words=words)

    def layer(self, files, concepts):
        if self.bare:
            self.weights = {}
        store = f.Source(kind="store", name="acts.zarr", sha256="ab" * 32, about={"weights": "clip-mini"})
        columns = {name: f.Column(title=title, meaning=meaning, formula=formula, section=section, source="acts.zarr", n=f"{self.images:,} images") for name, (title, meaning, formula, section) in COLUMNS.items()}  # fmt: skip
        return f.Layer(
            key=self.key, model="clip-mini", layer=self.key, title=f"clip-mini, {self.key}", units=self.units, images=self.images,
            sprite=f.Sprite(tile=self.tile, columns=10, first=TOP), **files, concepts=concepts, sources=[store], columns=columns,
            not_measured=dict.fromkeys(f.Unit.model_fields, "no such file was given") if self.bare else {"effect": "no file of `interpscore causality` was given"}, preprocessing="resize to 288, centre crop",
            input="288x288", histogram_edges=[k / 64 for k in range(65)],
            nulls={kind: f.Null(pairs_95=0.2, nearest_95=0.35, how="permuted activations") for kind in ("correlation", "weights") if not self.bare},
            statistics={"dead": int(self.numbers["dead"].sum()), "constant": 0, "labelled": sum(label is not None for label in self.labelled), "concepts": len(self.names), "redundant": 3, "sparsity_median": 0.42},
            notable=[f.Notable(why="most selective", units=np.argsort(-self.numbers["S"])[:8].tolist()), f.Notable(why="no label but monosemantic", units=[u for u in range(self.units) if self.labelled[u] is None][:8])],
            weights=self.weights, rights=[f.Rights(source="drawn by a program", licence="CC0-1.0", images=self.images)],
            limits=["Participants are simulated.", "5,000 images."], citation="@misc{made, title={A made bundle}}",
        )  # fmt: skip


def none(value):
    return None if np.isnan(value) else value


def tiles(rng, tile, columns, rows):
    """Squares of smooth colour with some grain, so that files are about as large as those of photographs."""
    coarse = rng.integers(30, 226, (rows * 3, columns * 3, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((columns * tile, rows * tile), Image.Resampling.BICUBIC)
    grain = rng.integers(-14, 15, (rows * tile, columns * tile, 1))
    return Image.fromarray(np.clip(np.asarray(smooth).astype(int) + grain, 0, 255).astype(np.uint8))


def webp(picture):
    """The bytes of a picture."""
    held = BytesIO()
    picture.save(held, "WEBP", quality=70, method=0)
    return held.getvalue()
