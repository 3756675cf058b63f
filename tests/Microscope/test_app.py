"""Guards the Streamlit app where there is no bundle, an empty one, or a damaged one."""

import sys
from pathlib import Path

import pytest

import Microscope
from tests.Microscope.made_bundle import make_bundle

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


def test_the_variable_names_a_bundle_where_the_command_line_does_not(shown, monkeypatch):
    monkeypatch.setenv("INTERPSCORE_BUNDLE", "https://example.org/bundle/")
    assert [*shown().error, *shown().title] == []
