"""Guards what notebooks show of results, stores and models: units, intervals and notes, escaped; and their pandas frames."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module
from InterpScore.benchmark import run_interpretability_benchmark
from tests.Activation_Extraction.small_stores import activations, image_set, open_writer, write
from tests.hostile import NAMES, is_shown

HOSTILE = [name.strip() for name in NAMES if name.strip() and name.isprintable()]


class Cells(HTMLParser):
    """The rows of a table, and the notes below it."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.notes, self.tags = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "li":
            self.notes.append("")

    def handle_data(self, data):
        if self.inside in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.inside == "li":
            self.notes[-1] += data


def cells(shown):
    text = shown._repr_html_()
    assert is_shown(text)
    found = Cells(text)
    assert found.tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    return found


@pytest.fixture
def result():
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {"ground_truth": concept, "level": 5, "image_filename": f"{concept}{i}", "soft_correct": i % 2, "participant": f"p{i % 3}",
         **{f"activation_{u}": float(concept == wanted) + generator.random() for u, wanted in enumerate(HOSTILE)}}
        for concept in HOSTILE for i in range(4)
    )  # fmt: skip
    neuron_map = {str(u): concept for u, concept in enumerate(HOSTILE)} | {"999": "cat"}
    return run_interpretability_benchmark(table, neuron_map, resamples=50)


@pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
def test_a_result_shows_values_with_intervals_and_notes(result):
    found = cells(result)
    header, first, *_ = found.rows
    assert header == ["Rank", "Neuron", "Concept", "S", "C", "R", "H", "InterpScore", "I_excess", "Notes"]
    row = dict(zip(header, first, strict=True))
    assert re.fullmatch(r"0\.\d{3} \[[\d.]+, [\d.]+\]|1\.000.*", row["S"])
    assert row["C"] == "–"
    assert row["Notes"]
    assert len(found.rows) == len(HOSTILE) + 2
    assert found.notes == list(result.warnings)
    frame = result.to_frame()
    frame["S"] = 0
    assert (result.table["S"] != 0).any()


@pytest.mark.parametrize("broken", [(), (3,)])
def test_a_store_shows_its_layers_and_what_is_missing(tmp_path, broken):
    a = activations(20, {"layer4": (7,), "<b>": (3, 2, 2)}, broken)
    found = cells(write(tmp_path / "s", a, broken=broken))
    assert [row[:3] for row in found.rows] == [
        ["Layer", "Units", "Positions"],
        ["layer4", "7", "–"],
        ["<b>", "3", "2×2"],
    ]
    assert found.rows[1][3] == f"{np.nanmean(a['layer4'], dtype=float):.4g}"
    assert found.notes == [f"1 image could not be read, such as {b}.png: broken" for b in broken]
    with open_writer(tmp_path / "begun", a) as writer:
        found = cells(writer.store)
    assert found.rows[1][3:] == ["–", "–"]
    assert found.notes == ["unfinished: 20 images are still to be computed"]


def test_a_store_gives_a_frame_of_images_and_units(tmp_path):
    a = activations(5, {"layer4": (7,), "other": (3, 2, 2)})
    store = write(tmp_path / "s", a, images=image_set(5))
    frame = store.to_frame("layer4")
    assert (frame.index.tolist(), frame.index.name) == ([f"{i}.png" for i in range(5)], "image")
    assert (frame.columns.tolist(), frame.columns.name) == (list(range(7)), "unit")
    np.testing.assert_array_equal(frame, a["layer4"])
    np.testing.assert_allclose(store.to_frame("other", [2, 0]), a["other"].mean((2, 3))[:, [2, 0]], rtol=1e-6)
    for wrong, message in (((), "layer: none given"), (("no",), "no layer 'no'"), (("layer4", [7]), "no unit 7")):
        with pytest.raises(InputError, match=message):
            store.to_frame(*wrong)


def test_a_model_shows_its_layers_and_their_units():
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 4, 3, stride=4))
    network.add_module("<img src=x>", nn.ReLU())
    model = from_module(network, ImageInput(16), name="mine", provenance={"weights": "</table>\x1b[2J"})
    found = cells(model)
    assert found.rows == [
        ["Layer", "Shape", "Units", "Other names"], ["conv", "4×4×4", "4", ""], ["<img src=x>", "4×4×4", "4", ""],
    ]  # fmt: skip
    assert r"weights: </table>\x1b[2J" in found.notes
    assert model.to_frame()["units"].tolist() == [4, 4]
