"""A model in a Python file of the user's own, `my_file.py:load`, which is read, hashed and run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Activation_Extraction.base.errors import InputError, did_you_mean, shown
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.base.user_code import imports_of, in_user_code, run_file

_NAMED = re.compile(r"(?P<path>.+\.py)(:(?P<name>.*))?", re.IGNORECASE | re.DOTALL)
EXAMPLE = "my_file.py:load"
FILE_SHA256 = "file_sha256"


def names_a_file(model: str) -> bool:
    """Whether a model's name is that of a Python file, with or without a name in it. Nothing is read.

    >>> names_a_file("my_file.py:load"), names_a_file("clip-mini")
    (True, False)
    """
    return _NAMED.fullmatch(model) is not None


@dataclass(frozen=True)
class OwnFile:
    """A Python file, and the name in it of a model or of the function that gives one.

    Attributes:
        path: absolute.
        content: its bytes when it was read.
        imports: files below its folder that it imports, by relative path, with their SHA-256.
    """

    path: Path
    name: str
    content: bytes
    imports: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, model: str) -> OwnFile:
        """The file that a model's name names; read, and not run.

        Raises:
            InputError: no such file, or no name after it.
        """
        match = _NAMED.fullmatch(model)
        assert match is not None, f"{model} names no Python file"
        path, name = Path(match["path"]), match["name"] or ""
        if not name.isidentifier():
            raise InputError(
                f"model {shown(model)}: names nothing in the file; expected the name of a function that returns a Model, "
                f"or of a Model, after it: {path.name}:load"
            )
        try:
            content, path = read_bytes(path), path.absolute()
            return cls(path, name, content, tuple(imports_of(path, content).items()))
        except OSError as error:
            raise InputError(f"model {path}: {error.strerror}; expected a Python file, as in {EXAMPLE}") from None

    @property
    def label(self) -> str:
        """The name of its model in results, which hold no folders of this machine."""
        return f"{self.path.name}:{self.name}"

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the file and of those it imports, as provenance names them."""
        imports = {f"{FILE_SHA256}:{name}": sha256 for name, sha256 in self.imports}
        return {FILE_SHA256: hashlib.sha256(self.content).hexdigest(), **imports}

    def run(self) -> Any:
        """Run the file, and the function in it: what it gives.

        Raises:
            InputError: whatever its code raises; no such name.
        """
        module = run_file(self.path, self.content, dict(self.imports))
        if self.name not in vars(module):
            own = [name for name in vars(module) if not name.startswith("_")]
            raise InputError(
                f"{self.path}: has no {shown(self.name)}{did_you_mean(self.name, own)}; expected a function that "
                "returns a Model, or a Model"
            )
        found = getattr(module, self.name)
        if not callable(found):
            return found
        with in_user_code(self.path):
            return found()
