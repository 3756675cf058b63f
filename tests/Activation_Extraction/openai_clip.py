"""OpenAI's own CLIP, from the package clip-anytorch, as the reference of tests; without torchvision, which `clip` imports."""

from functools import cache
from importlib.metadata import PackageNotFoundError, files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


def file_of_package(name):
    """Path of a file of the package; the test is skipped where the package is absent."""
    try:
        found = [file for file in files("clip-anytorch") or () if str(file) == f"clip/{name}"]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("OpenAI's code is not installed: pip install --no-deps clip-anytorch")
    return Path(str(found[0].locate()))


@cache
def openai(module):
    """A module of the package (`model`, `simple_tokenizer`), loaded by its path."""
    spec = spec_from_file_location(f"openai_clip_{module}", file_of_package(f"{module}.py"))
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
