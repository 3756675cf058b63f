"""The explorer as a Streamlit app: `streamlit run Microscope/app.py -- bundle/`, or with INTERPSCORE_BUNDLE set."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).parents[1]))  # Streamlit's cloud runs this file from a clone

from Microscope.serving.explorer import bundle_asked_for
from Microscope.serving.files import routes_of

_place = bundle_asked_for()
app = st.App(
    Path(__file__).with_name("page.py"),
    routes=routes_of(_place, st.get_option("server.baseUrlPath") or "") if _place else [],
)
