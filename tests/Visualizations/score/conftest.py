"""Runs that the tests of the figures of the score share."""

import pytest

from tests.Visualizations.planted_run import UNITS, planted_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def without_draws(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("without"), resamples=0)


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Eighty-four neurons, twelve of them without a rank."""
    units = {f"{copy}{unit}": planted for copy in range(12) for unit, planted in UNITS.items()}
    return planted_run(tmp_path_factory.mktemp("many"), resamples=25, units=units)
