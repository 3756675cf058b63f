"""The explorer inside Streamlit: the pages as a component, so that switching a unit asks the server for files alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import streamlit as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes
from Microscope.serving.files import PAGES, path_of_pages
from Microscope.serving.opening import is_address, open_bundle

VARIABLE = "INTERPSCORE_BUNDLE"
"""Where the command line cannot say which bundle: Streamlit's cloud sets it from the secret of this name."""
_WHOLE_WINDOW = """<style>
.stMainBlockContainer { padding: 0; max-width: none; } .stMainBlockContainer > div { gap: 0; }
header.stAppHeader { display: none; } [data-testid="stElementContainer"]:has(style) { display: none; }
</style>"""


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
    if not is_address(place):
        try:
            open_bundle(Path(place))
        except InputError as error:
            st.title("Microscope")
            for problem in error.problems:
                st.error(_literal(problem))
            return
    st.html(_WHOLE_WINDOW)
    root = path_of_pages(st.get_option("server.baseUrlPath") or "")
    _component()(
        data={"pages": f"{root}/", "base": place if is_address(place) else f"{root}/bundle/"}, key="microscope"
    )


@st.cache_resource
def _component() -> st.components.v2.types.ComponentRenderer:
    read = {name: read_bytes(PAGES / name).decode() for name in ("style.css", "streamlit.js")}
    return st.components.v2.component("microscope", html="<div></div>", css=read["style.css"], js=read["streamlit.js"])


def _literal(text: str) -> str:
    """Text in which Markdown means nothing."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~$:" else c for c in text)
