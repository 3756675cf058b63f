"""The explorer inside Streamlit: the pages as a component, so that switching a unit asks the server for files alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import streamlit as st

from Activation_Extraction.base.errors import InputError, InterpScoreError
from Activation_Extraction.base.files import read_bytes
from Microscope.bundle.format import Words
from Microscope.serving.files import PAGES, path_of_pages, scripts_at_first
from Microscope.serving.opening import first_files, is_address, open_bundle
from Microscope.serving.probe import LONGEST, labelled_units, words_by_layer

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model

VARIABLE = "INTERPSCORE_BUNDLE"
"""Where the command line cannot say which bundle: Streamlit's cloud sets it from the secret of this name."""


def bundle_asked_for() -> str | None:
    """The folder or address of the bundle that the command line or the environment names."""
    return next((each for each in sys.argv[1:] if not each.startswith("-")), None) or os.environ.get(VARIABLE)


def show() -> None:
    """Show the bundle, or what to type."""
    st.set_page_config(page_title="Microscope", layout="wide", initial_sidebar_state="collapsed")
    place = bundle_asked_for()
    if place is None:
        st.title("Microscope")
        st.write("No bundle is named. Type `interpscore microscope serve bundle/`, or set the secret or variable " + VARIABLE + " to the address of one.")  # fmt: skip
        return
    first = ["bundle.json"]
    if not is_address(place):
        try:
            first = first_files(Path(place), open_bundle(Path(place)))
        except InputError as error:
            st.title("Microscope")
            for problem in error.problems:
                st.error(_literal(problem))
            return
    root = path_of_pages(st.get_option("server.baseUrlPath") or "")
    _component()(
        data={
            "pages": f"{root}/",
            "base": f"{place.rstrip('/')}/" if is_address(place) else f"{root}/bundle/",
            # Tuples: in a list Streamlit looks for a data frame, and loads pandas and Arrow, which take memory and a second.
            "scripts": tuple(scripts_at_first()),
            "first": tuple(first),
        },
        key="microscope",
    )
    if not is_address(place):
        _text_probe(Path(place))


@st.cache_resource
def _component() -> st.components.v2.types.ComponentRenderer:
    read = {name: read_bytes(PAGES / name).decode() for name in ("style.css", "streamlit.js")}
    return st.components.v2.component("microscope", html="<div></div>", css=read["style.css"], js=read["streamlit.js"])


def _text_probe(bundle: Path) -> None:
    """Below the pages: the units that are closest to any text, or what this server lacks to find them."""
    words = _words(bundle, (bundle / "bundle.json").stat().st_mtime)
    if not words:
        return
    with st.expander("Find units by any text"):
        key = str(st.selectbox("Layer", list(words))) if len(words) > 1 else next(iter(words))
        text = st.text_input("Text", max_chars=LONGEST, help=f"Compared as “{words[key].template}” with each unit's top pictures, by {words[key].model}.")  # fmt: skip
        if not text.strip():
            return
        try:
            with st.spinner("Comparing"):
                found = labelled_units(bundle, key, words[key], _network(words[key].model_dump_json()), text)
        except InterpScoreError as error:
            st.warning(_literal(f"This text cannot be compared here: {error}"))
            return
        lines = [f"1. [unit {unit}](?unit={quote(f'{key}:{unit}')}) {_literal(label or 'no label')}, {score:.3f}" for unit, label, score in found]  # fmt: skip
        st.markdown("Cosine of the top pictures with the text, above the mean over units:\n\n" + "\n".join(lines))


@st.cache_resource(max_entries=4)
def _words(bundle: Path, written: float) -> dict[str, Words]:
    return words_by_layer(bundle)


@st.cache_resource(max_entries=1)
def _network(words: str) -> Model:
    from Microscope.bundle.evidence.texts import network_of_words  # late: torch, which other visitors do without

    return network_of_words(Words.model_validate_json(words))


def _literal(text: str) -> str:
    """Text in which Markdown means nothing."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~$:" else c for c in text)
