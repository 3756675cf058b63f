"""Public names of a package that load their module when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from Activation_Extraction.base.extras import naming_extras


def lazy_names(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose public names stand in its modules: name → module, without the package.

    A public name that is also that of its module stays the public one after the module was imported.
    """

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            own_module = isinstance(value, ModuleType) and home.get(name) == name
            super().__setattr__(name, getattr(value, name) if own_module else value)

    def load(name: str) -> Any:
        if name in home:
            with naming_extras():
                return getattr(import_module(f"{package}.{home[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    sys.modules[package].__class__ = Package
    return load
