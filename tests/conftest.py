"""What holds for all tests."""

import gc
import os
import signal

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; nothing timed is asserted here.
settings.register_profile("quick", deadline=None, max_examples=12)
settings.register_profile("thorough", deadline=None, max_examples=200)  # what `make test-all` asks for
settings.load_profile("quick")

# Where tests run in the background of a shell Ctrl-C is ignored, and would be in every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What collection makes stays to the end: looking for garbage among it, then or later, takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """The file that takes longest first, so that no process is left with it at the end."""
    items.sort(key=lambda item: "sanity/test_checks" not in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """What a person keeps in the cache changes no test, and no test changes it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("INTERPSCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk():
    """Files are not flushed in this process: no test loses power but those of `tests/power`, which note what was."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", os.fstat)  # refuses what is no open file, as well
        yield


@pytest.fixture
def decoding_here(request, monkeypatch):
    """Images are decoded in this process, except in tests marked `decoding_processes`."""
    if "decoding_processes" not in request.keywords:
        from Activation_Extraction.decoding import decoders
        from tests.decoding_here import DecodingHere

        monkeypatch.setattr(decoders, "DecodingProcess", DecodingHere)
