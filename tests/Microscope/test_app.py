"""Guards the Streamlit app where there is no bundle, an empty one, or a damaged one."""

import json
import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import Microscope
from tests.Microscope.made_bundle import hashed, make_bundle

pytest.importorskip("streamlit", reason="Streamlit is not installed")
from streamlit.testing.v1 import AppTest

PAGE = Path(Microscope.__file__).with_name("page.py")


@pytest.fixture
def shown(monkeypatch):
    """What the app shows for arguments of the command line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["app.py", *map(str, arguments)])
        app = AppTest.from_file(str(PAGE), default_timeout=60).run()
        assert not app.exception
        return app

    return run


def test_without_a_bundle_the_app_says_what_to_type(shown, monkeypatch):
    monkeypatch.delenv("INTERPSCORE_BUNDLE", raising=False)
    assert "interpscore microscope serve bundle/" in shown().markdown[0].value


def test_what_is_no_bundle_is_said_in_words(shown, tmp_path):
    assert "no bundle\\.json in it" in shown(tmp_path / "nothing").error[0].value


def test_names_from_outside_mean_nothing_in_a_message(shown, tmp_path):
    said = shown(tmp_path / "[x](javascript:alert(1)) **b** :red[x]").error[0].value
    assert "\\[x\\]\\(javascript\\:" in said
    assert "\\*\\*b\\*\\*" in said


@pytest.mark.parametrize("layers", [(), ("layer4.5",)])
def test_a_bundle_is_shown_by_the_component_alone(shown, tmp_path, layers):
    app = shown(make_bundle(tmp_path / "bundle", units=2, images=100, tile=8, layers=layers))
    assert [*app.error, *app.title] == []
    assert [element.key for element in app.main if element.key] == ["microscope"]


def test_streamlit_looks_for_no_data_frame_in_what_the_component_gets(shown, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("Microscope.serving.explorer._component", lambda: lambda **what: given.append(what))
    shown(make_bundle(tmp_path / "bundle", units=2, images=100, tile=8))
    assert {type(value) for value in given[0]["data"].values()} == {str, tuple}


def test_the_variable_names_a_bundle_where_the_command_line_does_not(shown, monkeypatch):
    monkeypatch.setenv("INTERPSCORE_BUNDLE", "https://example.org/bundle/")
    assert [*shown().error, *shown().title] == []


# Any text -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_words(tmp_path):
    """Makes a bundle whose words keep mean embeddings of top pictures; gives its folder and the embeddings."""
    mean_UD = np.random.default_rng(0).normal(size=(24, 128)).astype(np.float32)
    content = BytesIO()
    np.savez(content, mean_UD=mean_UD)

    def make(model="clip-mini", kept=None, **changes):
        folder = make_bundle(tmp_path / "bundle", units=24, images=100, tile=8, distinct=1, names=("a*b", "fire"))
        layer = folder / "layer4.5"
        name = hashed(layer, "embedding", "npz", content.getvalue() if kept is None else kept)
        (place,) = layer.glob("concepts.*")
        concepts = json.loads(place.read_bytes())
        concepts["words"] |= {"embedding": name, "model": model, "template": "a photo of {word}", **changes}
        place.write_text(json.dumps(concepts))
        return folder

    return make, mean_UD


def typed(app, text):
    app.text_input[0].input(text).run()
    assert not app.exception
    return app


def test_units_are_ranked_for_any_text_by_the_formula_of_words(shown, with_words):
    from Activation_Extraction import load_model

    make, mean_UD = with_words
    model = load_model("clip-mini")
    said = typed(shown(make()), "  a burning   house ").markdown[0].value
    text = model.encode_text(["a photo of a burning house"])[0].detach().double().numpy()
    cosine = mean_UD @ text / np.linalg.norm(mean_UD, axis=1) / np.linalg.norm(text)
    above = cosine - cosine.mean()
    rows = re.findall(r"\[unit (\d+)\]\(\?unit=layer4\.5%3A(\d+)\) (.+), (-?\d\.\d{3})$", said, re.MULTILINE)
    assert [int(row[0]) for row in rows] == np.argsort(-above)[:20].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(np.sort(above)[::-1][:20], abs=6e-4)
    assert {row[2] for row in rows} == {"a\\*b", "fire", "no label"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "unheard-of"}, "is no model of this server"),
        ({"model": "evil.py:load"}, "is no model of this server"),
        ({"weights_sha256": "0" * 64}, "expected 000000000000"),
        ({"kept": b"no archive"}, "damaged"),
    ],
)
def test_what_a_server_lacks_to_compare_texts_is_said(shown, with_words, changes, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    said = typed(shown(with_words[0](**changes)), "fire").warning[0].value
    assert says in said.replace("\\", "")


def test_no_text_is_asked_for_where_nothing_can_be_compared(shown, tmp_path):
    app = shown(make_bundle(tmp_path / "bundle", units=2, images=100, tile=8))
    assert [*app.text_input, *app.expander] == []
