"""Guards the ways into one network: safetensors, a TorchScript archive and a frozen graph give the same numbers.

All go through the commands: extract, causality, score and dream, in this process.
"""

import json
import warnings
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from Activation_Extraction import load_model
from Activation_Extraction.base.commands import run
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.cli.extract import extract_app
from Activation_Extraction.models import clip_mini
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Activation_Extraction.models.registry import CLIP_MEAN, CLIP_STD
from Activation_Extraction.models.weights import cache
from Activation_Extraction.models.weights.known import WeightsFile
from Activation_Extraction.store.reader import ActivationStore
from DeepDream_Setup.cli import dream_app
from InterpScore.cli.causality import causality_app
from InterpScore.cli.score import score_app
from tests.Activation_Extraction.graph_writer import clip_image_graph

pytestmark = pytest.mark.slow

MAP = {"185": "fire", "336": "star", "423": "tree"}
WAYS = ("safetensors", "torchscript", "frozen_graph")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
CLEAN, NOISY = 5, 4


def succeeded(app, *arguments):
    with pytest.raises(SystemExit) as left:
        run(app, [str(part) for part in arguments])
    assert not left.value.code, arguments


def refused(app, *arguments):
    with pytest.raises(SystemExit) as left:
        run(app, [str(part) for part in arguments])
    return left.value.code


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Way → file of clip-mini's weights."""
    folder, model = tmp_path_factory.mktemp("weights"), load_model("clip-mini")
    network, config = model.module, model.module.config
    archive, graph = folder / "archive.pt", folder / "graph.pb"
    tokens = torch.ones(1, config.context_length, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format and of tracing
        torch.jit.save(torch.jit.trace(network, (model.example(), tokens), check_trace=False), archive)
    state = {key: value.numpy() for key, value in model.image_tower.state_dict().items()}
    shape = config.vision_layers, config.vision_heads, config.image_resolution
    graph.write_bytes(clip_image_graph(state, *shape, CLIP_MEAN, CLIP_STD))
    published = WeightsFile("archive.pt", ("http://a.example/x",), sha256_of(archive), None, "torchscript", "", "clip-mini", "a test")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cache.WEIGHTS, "archive.pt", published)
        embedded = Path(clip_mini.__file__).with_name("weights.safetensors")
        yield dict(zip(WAYS, (embedded, archive, graph), strict=True))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with pictures of three concepts, clean and noisy, the table of their ratings, and the neuron map."""
    folder, rows, generator = tmp_path_factory.mktemp("study"), [], np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for concept in MAP.values():
        for k in range(4):
            name, level = f"{concept}_{k}.png", NOISY if k > 1 else CLEAN
            pixels = np.array(draw_scene(Random(f"{concept}{k % 2}"), [concept]).render(96)).astype(float)
            pixels += generator.normal(0, 30, pixels.shape) if level == NOISY else 0
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / name)
            rows += [(name, concept, level, f"p{p}", (k + p) % 2) for p in range(3)]
    columns = ["image_filename", "ground_truth", "level", "participant", "soft_correct"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "ratings.csv", index=False)
    (folder / "map.json").write_text(json.dumps(MAP))
    return folder


def network(file):
    return ["--model", "clip-mini", "--weights", file, "--layer", "block_4", "--quiet"]


@pytest.fixture(scope="module")
def scored(weights, study, tmp_path_factory):
    """Way → folder with its store, effects and scores."""
    found = {}
    for way, file in weights.items():
        found[way] = folder = tmp_path_factory.mktemp(way)
        store, effects = folder / "a.zarr", folder / "e.parquet"
        succeeded(extract_app, study / "pictures", *network(file), "-o", store, "--backend", "eager", "--workers", 1)
        succeeded(causality_app, study / "pictures" / "*_0.png", *network(file), "-o", effects)
        succeeded(
            score_app, study / "ratings.csv", study / "map.json", folder / "r.csv", "--store", store,
            "--causality", effects, "--recognizable-levels", f"{NOISY} {CLEAN}", "--resamples", 0, "--quiet",
        )  # fmt: skip
    return found


@pytest.mark.parametrize("way", WAYS[1:])
def test_every_way_gives_the_same_activations_effects_and_scores(scored, way):
    stores = [ActivationStore.open(scored[each] / "a.zarr") for each in (WAYS[0], way)]
    one, other = (np.concatenate(list(store.blocks(*store.shapes))) for store in stores)
    np.testing.assert_allclose(other, one, **CLOSE)
    one, other = (pd.read_parquet(scored[each] / "e.parquet") for each in (WAYS[0], way))
    pd.testing.assert_frame_equal(other, one, **CLOSE)
    assert one.filter(like="ablation_effect_").to_numpy().max() > 0.01
    one, other = (pd.read_csv(scored[each] / "r.csv").set_index("Neuron") for each in (WAYS[0], way))
    assert sorted(map(str, one.index)) == sorted(MAP)
    names = ["S", "C", "R", "H", "InterpScore", "C_raw", "C_specific", "C_percentile"]
    assert one[names].notna().all(axis=None)
    pd.testing.assert_frame_equal(other[names], one[names], **CLOSE)


@pytest.mark.parametrize("way", WAYS)
def test_effects_of_every_way_are_known_again_and_refused_once_changed(scored, weights, study, tmp_path, way, capfd):
    for name in ("e.parquet", "e.json"):
        (tmp_path / name).write_bytes((scored[way] / name).read_bytes())
    again = (causality_app, study / "pictures" / "*_0.png", *network(weights[way])[:-1], "-o", tmp_path / "e.parquet")
    succeeded(*again)
    assert "already complete; nothing measured" in capfd.readouterr().out
    frame = pd.read_parquet(tmp_path / "e.parquet")
    frame[[name for name in frame if "_effect_" in name]] *= 3
    frame.to_parquet(tmp_path / "e.parquet")
    files = [study / "ratings.csv", study / "map.json", tmp_path / "r.csv", "--store", scored[way] / "a.zarr"]
    assert refused(score_app, *files, "--causality", tmp_path / "e.parquet", "--resamples", 0) == 2
    assert "e.json: was written with another e.parquet" in capfd.readouterr().err
    assert refused(*again) == 2


def test_every_way_dreams_the_same_images_in_double_precision(weights, tmp_path):
    (tmp_path / "five.yaml").write_text("steps: 5\nsize: 48\nobjective: {channel: 1, total_variation: -2}\n")
    found = {}
    for way, file in weights.items():
        options = ["--units", "185,423", "--recipe", tmp_path / "five.yaml", "--precision", "fp64", "--threads", 1]
        succeeded(dream_app, *network(file), *options, "-o", tmp_path / way)
        paths = sorted((tmp_path / way).rglob("*.png"))
        assert len(paths) == 2
        found[way] = np.stack([np.asarray(Image.open(path)) / 255 for path in paths])
        (manifest,) = (tmp_path / way).rglob("manifest.json")
        assert json.loads(manifest.read_text())["precision"] == "fp64"
    for way in WAYS[1:]:
        np.testing.assert_allclose(found[way], found[WAYS[0]], **CLOSE)
    assert np.abs(found[WAYS[0]][0] - found[WAYS[0]][1]).mean() > 1e-3  # each unit has an image of its own
