"""A scoring run with all that a report can show, made once."""

import pytest

from tests.Visualizations.report import small_report
from Visualizations.report.page import make_report
from Visualizations.run import Run, Sources


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with data.csv, map.json, results.csv, pictures, acts.zarr, renders, labels.parquet and profile.csv."""
    folder = tmp_path_factory.mktemp("report")
    small_report.with_network(small_report.make_run(folder))
    small_report.make_pictures(folder)
    small_report.make_renders(folder)
    small_report.make_unit_tables(folder)
    return folder


@pytest.fixture(scope="session")
def everything(home):
    """All sources."""
    return Sources(
        home / "results.csv", data=home / "data.csv", stores=[home / "acts.zarr"], images=[home / "pictures"],
        renders=home / "renders", labels=home / "labels.parquet", profile=home / "profile.csv",
    )  # fmt: skip


@pytest.fixture(scope="session")
def html(everything):
    return make_report(Run(everything))
