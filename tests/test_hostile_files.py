"""Guards every command's file arguments against damaged and hostile files: a line a problem, exit code 2, no traceback, soon.
A command with a file argument joins by its case in `CASES`."""

import io
import json
import os
import re
import shutil
import struct
import time
import typing
import warnings
from inspect import unwrap

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from torch import nn

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models import registry
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.registry import Model, ModelSpec
from InterpScore.benchmark import run_interpretability_benchmark
from tests.Activation_Extraction import small_stores
from tests.hostile import JSON, NOT_TEXT, YAML, harmed

SIDE, LONGEST_LINE, MOST_SECONDS = 16, 1500, 3

TABLE = {
    "trial_category": "x", "ground_truth": ["fire", "wet"], "level": 5, "soft_correct": 1.0,
    "image_filename": ["0.png", "1.png"], "activation_0": [1.0, 0.0],
}  # fmt: skip


def parquet(columns=None, **options):
    content = io.BytesIO()
    pd.DataFrame(TABLE if columns is None else columns).to_parquet(content, **options)
    return content.getvalue()


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# What is handed over, by the kind of argument -------------------------------------------------------------------------

TABLES = harmed(parquet()) | {
    "no columns": parquet({"a": [1]}),
    "no rows": parquet({name: [] for name in TABLE}),
    "lists": parquet({name: [[1], [2]] for name in [*TABLE, "image"]}),
    "bytes": parquet({name: [b"\xff", b"\xfe"] for name in [*TABLE, "image"]}),
    "structs": parquet({name: [{"a": 1}, {"a": 2}] for name in [*TABLE, "image"]}),
    "nothing": parquet({name: [None, None] for name in [*TABLE, "image"]}),
}
NEURON = {"Neuron": "0", "Concept": "fire", "InterpScore": 0.5, "S": 0.5, "Notes": ""}


def results(signature=None, **change):
    """The JSON of a scoring run, with something else in a place."""
    whole = {
        "signature": {"options": {}} if signature is None else signature,
        "warnings": [],
        "columns": {},
        "neurons": [NEURON],
    }
    return json.dumps(whole | change)


RESULTS = {
    "no neurons": results(neurons=[]),
    "neurons that are a number": results(neurons=5),
    "neurons that are text": results(neurons="abc"),
    "a neuron that is a list": results(neurons=[[1]]),
    "a neuron without a name": results(neurons=[{"Concept": "a", "InterpScore": 1}]),
    "a neuron without a score": results(neurons=[{"Neuron": "0", "Concept": "a"}]),
    "a score that is text": results(neurons=[NEURON | {"InterpScore": "high"}]),
    "a score that is a list": results(neurons=[NEURON | {"S": [1]}]),
    "a name that is a number": results(neurons=[NEURON | {"Neuron": 5}]),
    "a concept that is an object": results(neurons=[NEURON | {"Concept": {}}]),
    "columns that are a list": results(columns=[]),
    "layers that are text": results(layers="abc"),
    "options that are text": results({"options": "abc"}),
    "unknown options": results({"options": {"levels": 5}}),
    "options with other values": results({"options": {"clean_level": "none"}}),
    "a signature that is a list": results([]),
    "no options": results({}),
    "inputs that are a list": results({"options": {}, "inputs": []}),
    "a baseline that is text": results({"options": {}, "baseline": "a"}),
    "warnings that are a number": results(warnings=5),
}

WORDS = {
    "no text": NOT_TEXT,
    "a zero byte": b"cat\0\ndog\n",
    "empty": b"",
    "spaces": b" \n\t\n",
    "one": b"cat",
    "control": b"\x1b[2J\ncat\n",
}
EFFECTS = harmed(parquet()) | {
    "no columns": parquet({"a": [1]}),
    "an image twice": parquet({"image": ["0.png"] * 2, "ablation_effect_0": [0.1, 0.2], "amplification_effect_0": 0.1}),
    "words": parquet({"image": ["0.png"], "ablation_effect_0": ["much"], "amplification_effect_0": 0.1}),
    "lists": parquet({"image": ["0.png"], "ablation_effect_0": [[0.1]], "amplification_effect_0": 0.1}),
    "negative": parquet({"image": ["0.png"], "ablation_effect_0": [-1.0], "amplification_effect_0": 0.1}),
}
TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DAMAGED_WEIGHTS = harmed(safetensors({"a": TENSOR}, bytes(4))) | {
    "a longer header": struct.pack("<Q", 2**40) + b"{}",
    "a huge tensor": safetensors({"a": TENSOR | {"shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
    "deep": safetensors(b"{" + b'"a":{' * 5000),
    "a pickle": b"\x80\x04cos\nsystem\n.",
    "a zip": b"PK\3\4" + bytes(60),
}
WEIGHTS = DAMAGED_WEIGHTS | {"no tensors": safetensors({}), "other tensors": safetensors({"a": TENSOR}, bytes(4))}


def file_of(contents, name):
    """Makers of files of a name."""

    def maker(content):
        def make(folder, good):
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            return folder / name

        return make

    return {key: maker(content) for key, content in contents.items()} | {
        "missing": lambda folder, good: folder / name,
        "a folder": lambda folder, good: folder,
        "a long name": lambda folder, good: folder / ("long" * 100 + name),
        "no text": lambda folder, good: folder / (os.fsdecode(NOT_TEXT) + name),
        "below a file": lambda folder, good: folder / "file.txt" / name,
    }


def every(step, makers, start=0):
    """Some of the makers: arguments that go to the same function share them."""
    return dict(list(makers.items())[start::step])


def folder_of(contents, name):
    """Makers of folders with a file of a name."""

    def maker(make):
        def make_folder(folder, good):
            make(folder, good)
            return folder

        return make_folder

    files = {key: maker(make) for key, make in file_of(contents, name).items() if key in contents}
    return files | {
        "a file": lambda folder, good: folder / "file.txt",
        "a long name": lambda folder, good: folder / ("long" * 100),
        "no text": lambda folder, good: folder / os.fsdecode(NOT_TEXT),
    }


def manifest(**change):
    numbers = dict.fromkeys(("activation", "jittered", "contrast", "saturation", "slope"), 1.0)
    entry = {
        "file": "0/a.png",
        "sha256": "0" * 64,
        "start": "grey",
        "flags": [],
        "best_natural": None,
        "times_natural": None,
    }
    content = {"format": 1, "model": "m", "layer": "l", "units": {"0": [entry | numbers | change]}}
    return json.dumps(content)


MANIFESTS = JSON | {
    "no units": '{"format": 1, "model": "m", "layer": "l"}',
    "another format": '{"format": {"a": 1}, "units": {}}',
    "a list of units": '{"format": 1, "model": "m", "layer": "l", "units": []}',
    "a unit that is a number": '{"format": 1, "model": "m", "layer": "l", "units": {"0": 5}}',
    "a model that is a list": '{"format": 1, "model": [], "layer": "l", "units": {}}',
    "flags that are a number": manifest(flags=5),
    "an activation that is text": manifest(activation="high"),
    "natural text": manifest(best_natural="much"),
    "a score of no facet": manifest(facet="a", facet_scores={"b": 1.0}),
}
READ_BY_REPORTS = {
    kind: content
    for kind, content in MANIFESTS.items()
    if re.match("no units|another|a list|a unit|a model|flags", kind)
}


def stating(*keys, value):
    """A change of what a store states."""

    def change(path):
        content = json.loads((path / "provenance.json").read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (path / "provenance.json").write_text(json.dumps(content))

    return change


def writing(name, content):
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def harming(name, kind):
    return lambda path: (path / name).write_bytes(harmed((path / name).read_bytes())[kind])


def small_shards(path):
    stating("identity", "rows", value=10**9)(path)
    stating("identity", "shard_rows", value=1)(path)


def store_with(change):
    def make(folder, good):
        shutil.copytree(good / "acts.zarr", folder / "acts.zarr")
        change(folder / "acts.zarr")
        return folder / "acts.zarr"

    return make


DAMAGES = {
    **{f"provenance: {kind}": writing("provenance.json", content) for kind, content in every(3, JSON).items()},
    "many rows": stating("identity", "rows", value=10**12),
    "more rows": stating("identity", "rows", value=10**9),
    "small shards": small_shards,
    "rows that are text": stating("identity", "rows", value="3"),
    "rows that are true": stating("identity", "rows", value=True),
    "an identity that is a list": stating("identity", value=[1]),
    "many units": stating("layers", "layer4", value=[10**12]),
    "more units": stating("layers", "layer4", value=[10**7]),
    "large shards": stating("identity", "shard_rows", value=10**9),
    "aliases that are numbers": stating("aliases", value={"a": 1}),
    "an alias of nothing": stating("aliases", value={"a": "b"}),
    **{f"images: {kind}": harming("images.parquet", kind) for kind in ("cut off", "ones at the end", "text", "empty")},
    "images: fewer": writing("images.parquet", parquet({"image": ["0.png"]})),
    "images: without names": writing("images.parquet", parquet({"a": ["0.png", "1.png"]})),
    "images: numbers": writing("images.parquet", parquet({"image": [0, 1]})),
    "a shard cut off": writing("layer4/activation/c/0/0", b"\0" * 100),
    "an empty shard": writing("layer4/activation/c/0/0", b""),
}
STORES = {kind: store_with(change) for kind, change in DAMAGES.items()} | {
    "a file": lambda folder, good: folder / "file.txt",
    "an empty folder": lambda folder, good: folder,
    "a long name": lambda folder, good: folder / ("long" * 100),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Inputs that are fine."""
    folder = tmp_path_factory.mktemp("good")
    for i, concept in enumerate(("fire", "wet")):
        (folder / "pictures" / concept).mkdir(parents=True)
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / concept / f"{i}.png")
    (folder / "map.json").write_text('{"0": "fire"}')
    (folder / "words.txt").write_text("fire\nwet\n")
    (folder / "table.parquet").write_bytes(parquet())
    (folder / "answers.csv").write_text("ground_truth,word_1\nfire,fire\nwet,dry\n")
    (folder / "columns.yaml").write_text(
        "participant: (file)\nimage_filename: image_filename\nground_truth: ground_truth\nlevel: level\nwords: [soft_correct]\n"
    )
    (folder / "protocol.yaml").write_text(f"about: plain\nsize: {SIDE * 2}\nlevels:\n  5: {{kind: clean}}\n")
    levels = "  1: {kind: exemplar, activation: most, images: 1}\n"
    (folder / "exemplars.yaml").write_text((folder / "protocol.yaml").read_text() + levels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_interpretability_benchmark(folder / "table.parquet", folder / "map.json", resamples=30)
    result.save(folder / "a.csv")
    small_stores.write(folder / "acts.zarr", small_stores.activations(2, {"layer4": (4,)}))
    return folder


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The network `toy`."""
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(3, 4, 3, stride=4))
    net.add_module("mean", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net = net.eval().requires_grad_(False)
    model = Model("toy", net, net, ImageInput(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), LayerNames(net))
    monkeypatch.setitem(
        registry._registered, "toy", ModelSpec("toy", "a test", lambda file, sha256: model, embedded=True)
    )


# Every command --------------------------------------------------------------------------------------------------------

MICROSCOPE = lambda good: ["microscope", "build", good / "acts.zarr"]  # noqa: E731
TOY = ("--model", "toy", "--layer", "conv")
IMAGES = file_of(TABLES, "images.parquet")
RULES = {"large", "size of a planet", "steps for ever"}
"""YAML that is a protocol without rules."""
NEURON_MAPS = file_of(JSON, "map.json")
CASES = {
    "baseline images": (every(8, IMAGES, 2), lambda f, g, out: ["baseline", f, *TOY, "-o", out / "u"]),
    "baseline store": (
        every(8, STORES, 2), lambda f, g, out: ["baseline", g / "pictures", "--store", f, "-o", out / "u"],
    ),
    "causality images": (every(4, IMAGES, 1), lambda f, g, out: ["causality", f, *TOY, "-o", out / "e.parquet"]),
    "causality table": (
        every(3, file_of(TABLES, "table.parquet")),
        lambda f, g, out: ["causality", g / "pictures", *TOY, "--table", f, "-o", out / "e.parquet"],
    ),
    "causality weights": (
        file_of(WEIGHTS, "a.safetensors"),
        lambda f, g, out: ["causality", g / "pictures", "--model", "clip-rn50", "--weights", f, "-o", out / "e.parquet"],
    ),
    "compare a": (file_of(JSON, "a.json"), lambda f, g, out: ["compare", f, g / "a.csv", "-o", out / "c.csv"]),
    "compare store_a": (
        every(9, STORES, 4),
        lambda f, g, out: [
            "compare", g / "a.csv", g / "a.csv", "--match", "correlation", "--store-a", f, "-o", out / "c.csv"
        ],
    ),
    "data check folder": (
        {
            **folder_of({"deep": "[" * 3000, "a key twice": '{"0": "a", "0": "b"}', "no text": NOT_TEXT}, "map.json"),
            **folder_of(every(3, harmed(parquet())), "table.parquet"),
        },
        lambda f, g, out: ["data", "check", f],
    ),
    "data download checksums": (
        file_of({"text": "hello", "zeros": bytes(100), "short": "0" * 63 + "  a", "no text": NOT_TEXT}, "SHA256SUMS"),
        lambda f, g, out: [
            "data", "download", "images", "--checksums", f, "--to", out / "x", "--anonymous", "--bucket", "b-1",
            "--endpoint-url", "http://127.0.0.1:9",
        ],
    ),
    "dream recipe": (file_of(YAML, "r.yaml"), lambda f, g, out: ["dream", *TOY, "--recipe", f, "-o", out / "r"]),
    "dream images": (every(4, IMAGES, 2), lambda f, g, out: ["dream", *TOY, "--images", f, "-o", out / "r"]),
    "dream check renders": (folder_of(MANIFESTS, "manifest.json"), lambda f, g, out: ["dream", "check", f]),
    "extract images": (IMAGES, lambda f, g, out: ["extract", f, *TOY, "-o", out / "a.zarr"]),
    "extract output": (
        every(3, STORES),
        lambda f, g, out: ["extract", "-o", f, "--verify"],
    ),
    "figures results": (
        file_of(every(3, JSON) | RESULTS, "results.json"), lambda f, g, out: ["figures", f, "-o", out / "f"],
    ),
    "figures data": (
        every(3, file_of(TABLES, "table.parquet")), lambda f, g, out: ["figures", g / "a.csv", "--data", f, "-o", out / "f"],
    ),
    "figures effects": (
        every(2, file_of(EFFECTS, "effects.parquet")),
        lambda f, g, out: ["figures", g / "a.csv", "--data", g / "table.parquet", "--effects", f, "-o", out / "f"],
    ),
    "figures labels": (
        every(3, file_of(TABLES, "labels.parquet")), lambda f, g, out: ["figures", g / "a.csv", "--labels", f, "-o", out / "f"],
    ),
    "figures sanity": (
        every(3, file_of(TABLES, "checks.parquet"), 1), lambda f, g, out: ["figures", g / "a.csv", "--sanity", f, "-o", out / "f"],
    ),
    "figures published": (
        every(2, file_of(TABLES, "board.parquet")), lambda f, g, out: ["figures", g / "a.csv", "--published", f, "-o", out / "f"],
    ),
    "label concepts": (
        every(4, IMAGES) | file_of(WORDS, "words.txt"),
        lambda f, g, out: ["label", g / "acts.zarr", "--concepts", f, "-o", out / "l.parquet"],
    ),
    "label stores": (every(4, STORES, 2), lambda f, g, out: ["label", f, "-o", out / "l.parquet"]),
    "label embedding": (
        every(4, STORES, 3),
        lambda f, g, out: [
            "label", g / "acts.zarr", "--concepts", g / "words.txt", "--embedding", f, "-o", out / "l.parquet"
        ],
    ),
    "microscope build stores": (every(6, STORES, 1), lambda f, g, out: ["microscope", "build", f, "-o", out / "b"]),
    "microscope build images": (every(6, IMAGES, 1), lambda f, g, out: [*MICROSCOPE(g), "--images", f, "-o", out / "b"]),
    "microscope build labels": (
        every(2, file_of(harmed(parquet()), "l.parquet")), lambda f, g, out: [*MICROSCOPE(g), "--labels", f, "-o", out / "b"],
    ),
    "microscope build profile": (
        every(2, file_of(JSON, "p.json"), 1), lambda f, g, out: [*MICROSCOPE(g), "--profile", f, "-o", out / "b"],
    ),
    "microscope build results": (
        every(2, file_of(JSON, "r.json")), lambda f, g, out: [*MICROSCOPE(g), "--results", f, "-o", out / "b"],
    ),
    "microscope build effects": (
        every(2, file_of(EFFECTS, "e.parquet")), lambda f, g, out: [*MICROSCOPE(g), "--effects", f, "-o", out / "b"],
    ),
    "microscope build renders": (
        every(2, folder_of(MANIFESTS, "manifest.json")), lambda f, g, out: [*MICROSCOPE(g), "--renders", f, "-o", out / "b"],
    ),
    "microscope build published": (
        file_of({"no text": NOT_TEXT, "empty": b"", "zeros": bytes(9), "other": b"a,b\n1,2\n"}, "p.csv"),
        lambda f, g, out: [*MICROSCOPE(g), "--published", f, "-o", out / "b"],
    ),
    "microscope export bundle": (
        folder_of(JSON, "bundle.json"), lambda f, g, out: ["microscope", "export", f, "-o", out / "site"],
    ),
    "microscope serve bundle": (
        every(4, folder_of(JSON, "bundle.json")), lambda f, g, out: ["microscope", "serve", f],
    ),
    "microscope build words": (
        file_of(WORDS, "words.txt"),
        lambda f, g, out: [*MICROSCOPE(g), "--embedding", g / "acts.zarr", "--words", f, "-o", out / "b"],
    ),
    "models layers weights": (
        file_of(harmed(b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder" * 20), "graph.pb"),
        lambda f, g, out: ["models", "layers", "clip-rn50x4", "--weights", f],
    ),
    "models check name": (every(2, file_of(DAMAGED_WEIGHTS, "a.safetensors")), lambda f, g, out: ["models", "check", f]),
    "profile store": (
        every(6, STORES, 2), lambda f, g, out: ["profile", f, "--embedding", g / "acts.zarr", "--same-network", "-o", out / "p.csv"],
    ),
    "profile embedding": (
        every(6, STORES, 5), lambda f, g, out: ["profile", g / "acts.zarr", "--embedding", f, "--same-network", "-o", out / "p.csv"],
    ),
    "profile baseline": (
        every(4, folder_of(JSON, "baseline.json")),
        lambda f, g, out: [
            "profile", g / "acts.zarr", "--embedding", g / "acts.zarr", "--same-network", "--baseline", f, "-o", out / "p.csv"
        ],
    ),
    "report results": (
        file_of(JSON, "results.json"), lambda f, g, out: ["report", f, "-o", out / "r.html"],
    ),
    "report data": (
        every(5, file_of(TABLES, "table.parquet"), 1),
        lambda f, g, out: ["report", g / "a.csv", "--data", f, "-o", out / "r.html"],
    ),
    "report store": (
        every(5, STORES, 3),
        lambda f, g, out: ["report", g / "a.csv", "--store", f, "--images", g / "pictures", "-o", out / "r.html"],
    ),
    "report renders": (
        folder_of(JSON | READ_BY_REPORTS, "manifest.json"),
        lambda f, g, out: ["report", g / "a.csv", "--renders", f, "-o", out / "r.html"],
    ),
    "report labels": (
        every(4, file_of(TABLES, "labels.parquet"), 2),
        lambda f, g, out: ["report", g / "a.csv", "--labels", f, "-o", out / "r.html"],
    ),
    "report profile": (
        every(4, file_of(TABLES, "profile.parquet"), 1),
        lambda f, g, out: ["report", g / "a.csv", "--profile", f, "-o", out / "r.html"],
    ),
    "score data": (
        file_of(TABLES, "table.parquet"), lambda f, g, out: ["score", f, g / "map.json", out / "r.csv"],
    ),
    "score neuron_map": (NEURON_MAPS, lambda f, g, out: ["score", g / "table.parquet", f, out / "r.csv"]),
    "score store": (
        STORES, lambda f, g, out: ["score", g / "table.parquet", g / "map.json", out / "r.csv", "--store", f],
    ),
    "score baseline": (
        every(4, folder_of(JSON, "baseline.json")),
        lambda f, g, out: ["score", g / "table.parquet", g / "map.json", out / "r.csv", "--baseline", f],
    ),
    "score causality": (
        file_of(EFFECTS, "effects.parquet"),
        lambda f, g, out: ["score", g / "table.parquet", g / "map.json", out / "r.csv", "--causality", f],
    ),
    "stimuli build images": (
        every(4, IMAGES, 3), lambda f, g, out: ["stimuli", "build", f, "-p", g / "protocol.yaml", "-o", out / "s"],
    ),
    "stimuli build protocol": (
        every(3, file_of(YAML, "p.yaml")), lambda f, g, out: ["stimuli", "build", g / "pictures", "-p", f, "-o", out / "s"],
    ),
    "stimuli build neuron_map": (
        every(4, NEURON_MAPS),
        lambda f, g, out: [
            "stimuli", "build", g / "pictures", "-p", g / "protocol.yaml", "--neuron-map", f, "-o", out / "s"
        ],
    ),
    "stimuli build exemplars": (
        every(4, IMAGES),
        lambda f, g, out: [
            "stimuli", "build", g / "pictures", "-p", g / "exemplars.yaml", "--exemplars", f, "-o", out / "s"
        ],
    ),
    "stimuli check folder": (
        folder_of({"text": b"hello", "no text": NOT_TEXT, "a zero byte": b"image\0\n", "empty": b""}, "images.csv"),
        lambda f, g, out: ["stimuli", "check", f],
    ),
    "study check protocol": (
        every(3, file_of(YAML, "p.yaml"), 1), lambda f, g, out: ["study", "check", f, "--stimuli", g / "pictures"],
    ),
    "study check stimuli": (every(4, IMAGES, 2), lambda f, g, out: ["study", "check", "published", "--stimuli", f]),
    "study password database": (
        file_of({"text": b"hello" * 500, "empty": b"", "no text": NOT_TEXT}, "study.db"),
        lambda f, g, out: ["study", "password", f],
    ),
    "study withdraw state": (
        folder_of(every(3, JSON), "keys.json"),
        lambda f, g, out: ["study", "withdraw", out / "study.db", "somebody", "--state", f],
    ),
    "study score answers": (
        every(2, file_of(TABLES, "answers.parquet")), lambda f, g, out: ["study", "score", f, "-o", out / "s.csv"],
    ),
    "study score synonyms": (
        every(2, file_of(TABLES, "synonyms.parquet")),
        lambda f, g, out: ["study", "score", g / "answers.csv", "--synonyms", f, "-o", out / "s.csv"],
    ),
    "study score decisions": (
        every(2, file_of(TABLES, "decisions.parquet"), 1),
        lambda f, g, out: ["study", "score", g / "answers.csv", "--decisions", f, "-o", out / "s.csv"],
    ),
    "study score protocol": (
        every(3, file_of({kind: text for kind, text in YAML.items() if kind not in RULES}, "p.yaml"), 1),
        lambda f, g, out: ["study", "score", g / "answers.csv", "--protocol", f, "-o", out / "s.csv"],
    ),
    "study adjudicate scored": (
        every(4, file_of(TABLES, "scored.parquet"), 2), lambda f, g, out: ["study", "adjudicate", f, "-o", out / "s.csv"],
    ),
    "study adjudicate filled": (
        every(4, file_of(TABLES, "a.parquet"), 3),
        lambda f, g, out: ["study", "adjudicate", "--filled", f, "--filled", g / "answers.csv", "-o", out / "s.csv"],
    ),
    "study import files": (
        every(2, file_of(TABLES, "answers.parquet")),
        lambda f, g, out: ["study", "import", f, "--columns", g / "columns.yaml", "-o", out / "a.csv"],
    ),
    "study import columns": (
        every(3, file_of(YAML, "c.yaml"), 2),
        lambda f, g, out: ["study", "import", g / "answers.csv", "--columns", f, "-o", out / "a.csv"],
    ),
    "study reconcile submissions": (
        every(3, file_of(TABLES, "export.parquet")), lambda f, g, out: ["study", "reconcile", out / "study.db", f],
    ),
    "study report scored": (
        every(4, file_of(TABLES, "scored.parquet")), lambda f, g, out: ["study", "report", f, "-o", out / "r.json"],
    ),
    "table images": (
        every(4, IMAGES, 1), lambda f, g, out: ["table", "--images", f, "--store", g / "acts.zarr", "-o", out / "t.csv"],
    ),
    "table store": (
        every(4, STORES), lambda f, g, out: ["table", "--images", g / "pictures", "--store", f, "-o", out / "t.csv"],
    ),
    "top store": (
        every(4, STORES, 1),
        lambda f, g, out: ["top", f, "--units", "0", "--images", g / "pictures", "-o", out / "wall.png"],
    ),
    "top neuron_map": (
        every(4, NEURON_MAPS, 1),
        lambda f, g, out: [
            "top", g / "acts.zarr", "--neuron-map", f, "--images", g / "pictures", "-o", out / "wall.png"
        ],
    ),
}  # fmt: skip

THE_SAME = {
    "microscope build embedding": "profile embedding",
    "microscope build neuron_map": "top neuron_map",
    "microscope build weights": "causality weights",
    "figures store": "score store",
    "baseline images_root": "extract images",
    "compare b": "compare a",
    "compare store_b": "compare store_a",
    "label images": "extract images",
    "label images_root": "extract images",
    "label model_weights": "causality weights",
    "table images_root": "extract images",
    "top images": "extract images",
    "causality images_root": "causality images",
    "dream weights": "causality weights",
    "dream start": "dream images",  # an image; tests/Activation_Extraction/images
    "dream facet_images": "dream images",
    "extract images_root": "extract images",
    "extract weights": "causality weights",
    "report images": "extract images",
    "score images": "extract images",
    "score model_weights": "causality weights",
    "stimuli build store": "score store",
    "stimuli build renders": "dream check renders",
    "stimuli build weights": "causality weights",
    "stimuli protocols name": "stimuli build protocol",
    "study protocols name": "study check protocol",
    "study serve protocol": "study check protocol",
    "study serve stimuli": "study check stimuli",
    "study serve database": "study password database",
    "study serve state": "study withdraw state",
    "study recruiting database": "study password database",
    "study withdraw database": "study password database",
    "study backup database": "study password database",
    "study export database": "study password database",
    "study export state": "study withdraw state",
    "study export stimuli": "study check stimuli",
    "study reconcile database": "study password database",
    "study reconcile state": "study withdraw state",
    "study simulate protocol": "study check protocol",
    "study simulate stimuli": "study check stimuli",
}
"""Arguments that go to the same function as those of another command."""

WRITTEN = {
    "baseline output", "causality output", "compare output", "data download to", "dream output", "extract export", "figures output", "label output", "label map_out", "label export", "microscope build output", "microscope export output",
    "models download to", "sanity output", "score results",
    "profile output", "report output", "stimuli build output", "study adjudicate output", "study backup target", "study export output", "study import output", "study reconcile output", "study power output", "study report output", "study score differences", "study score output",
    "table output", "top output",
}  # fmt: skip
"""What is written: tests/test_jobs.py and the tests of `base/files`."""

NO_FILES = {
    "csv", "figure", "venue", "theme", "formats", "separator", "levels", "template", "device", "devices", "layer", "embedding_layer", "layer_a", "layer_b", "units", "model", "split", "facet", "also", "batch_size", "memory_limit", "source",
    "sha256", "recognizable_levels", "human_score_col", "level_kinds", "score weights", "selectivity", "study score words", "pictures", "raters", "models layers name",
    "models download name", "at", "bucket", "host", "recognition", "root_path", "trusted_proxy", "participant", "prefix", "endpoint_url", "data download profile", "neurons", "microscope build strata", "microscope build title",
}  # fmt: skip
"""Texts that name no file, by parameter, or command and parameter."""


def texts_and_paths(group, above=()):
    """Command and parameter of every text or path that a command takes."""
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        path = " ".join((*above, name))
        if command.callback is not None:
            for parameter, hint in typing.get_type_hints(unwrap(command.callback)).items():
                if re.search(r"\bstr\b|Path", str(hint)) and parameter != "return":
                    yield f"{path} {parameter}", parameter
        if hasattr(command, "list_commands"):
            yield from texts_and_paths(command, (*above, name))


def test_every_file_argument_has_a_case():
    found = dict(texts_and_paths(typer.main.get_command(app)))
    files = {name for name, parameter in found.items() if not {name, parameter} & NO_FILES}
    assert files == CASES.keys() | THE_SAME.keys() | WRITTEN


@pytest.mark.timeout(120)
@pytest.mark.parametrize("argument", CASES)
def test_a_hostile_file_is_one_line_a_problem_and_exit_code_2(argument, good, tmp_path, capfd):
    makers, arguments = CASES[argument]
    for i, (kind, make) in enumerate(makers.items()):
        folder, out = tmp_path / f"{i}", tmp_path / f"{i}_out"
        folder.mkdir()
        out.mkdir()
        (folder / "file.txt").write_text("hello")
        command = [str(part) for part in arguments(make(folder, good), good, out)]
        started = time.process_time()
        with pytest.raises(SystemExit) as left:
            run(app, command)
        seconds = time.process_time() - started
        output, err = capfd.readouterr()
        codes = (1, 2) if command[-1] == "--verify" or command[:2] == ["data", "check"] else (2,)
        lines = err.splitlines()
        assert left.value.code in codes, (kind, left.value.code, output[-500:], err[-1500:])
        assert lines, kind
        assert all(
            line.startswith(("error: ", "damaged: ", "cannot be read: ")) and len(line) < LONGEST_LINE for line in lines
        ), (
            kind,
            lines,
        )
        assert len(lines) < 30, (kind, len(lines))
        assert seconds < MOST_SECONDS, (kind, seconds)
        assert not list(out.iterdir()), kind
