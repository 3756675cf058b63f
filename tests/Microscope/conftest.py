"""The bundle with everything in it, made once for the tests that read it."""

import pytest

from tests.Microscope.full_bundle import full_bundle
from tests.Microscope.small_bundles import read


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    return full_bundle(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def made(full):
    return read(full.bundle)
