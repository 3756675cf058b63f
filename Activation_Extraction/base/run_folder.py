"""The folder of a long job: one writer at a time, what was asked for, and the parts that are done.

    with RunFolder(path, made_with(["numpy"], "cpu x86_64")) as folder:
        refuse_other(path, read_json(path / "identity.json"), identity, "another folder (-o)")
        for part in folder.missing(parts, name_of):
            folder.keep(name_of(part), {f"{name_of(part)}.bin": compute(part)})

A part is done once its record is there: its files were written beside their places, flushed, moved, and then recorded
with their hashes. An interrupted run resumes with the parts that are missing. What was asked for is compared; the
versions of libraries and the kind of processor are recorded with every part and never refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import RESUMES, InputError, OutputError, listed_up_to, shown
from Activation_Extraction.base.files import (
    PART,
    NotAFileError,
    as_json,
    check_no_link,
    flush,
    flush_below,
    sha256_of,
    written_whole,
)

P = TypeVar("P")

LOCK = ".lock"
RECORDS = ".records"
RECORDED_ONLY = frozenset({"versions", "processor", "threads", "torch", "library", "interpscore"})
"""Names in what was asked for that tell what it was made with, also in files of earlier versions: never compared."""

UNTRAINED = "untrained, seed "
"""What a provenance states in place of the weights of an untrained network, before the seed."""

PROVENANCE = "provenance"
"""The name under which a model's provenance, whatever names are in it, is part of what was asked for."""

_WORDS = {"images": "the image set", "rows": "a number of images of", "layers": "the layers"}
_SHOWN_DIFFERENCES, _SHOWN_CHARACTERS = 10, 80


# What was asked for ---------------------------------------------------------------------------------------------------


def refuse_other(place: Path, held: Mapping[str, Any] | None, asked: Mapping[str, Any], otherwise: str) -> None:
    """Refuse a folder or file that holds something else than what is asked for.

    Args:
        place: what messages name.
        held: what it holds; None where nothing is there yet. Names that are not asked for are not compared.
        otherwise: what else could be written, such as "another folder (-o)".

    Raises:
        InputError: a line for each difference.
    """
    if held is None:
        return
    wanted = json.loads(as_json(asked))
    if PROVENANCE in wanted and PROVENANCE not in held:  # an earlier version mixed it with what else was asked for
        held = {**held, PROVENANCE: {name: held[name] for name in wanted[PROVENANCE] if name in held}}
    different = [
        f"{place}: holds {_WORDS.get(name, name)} {_said(found)}; asked for {_said(value)}"
        for name, found, value in _differences({name: held.get(name) for name in wanted}, wanted)
    ]
    if different:
        lines = listed_up_to(different, _SHOWN_DIFFERENCES, "differences")
        raise InputError([*lines, f"{place}: is left as it is; expected the same again, or {otherwise}"])


def _differences(
    held: Mapping[str, Any], asked: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Name, what is held and what is asked for of each difference."""
    same_weights = asked.get("weights_sha256") is not None  # they may lie in a file of another name
    for name in dict.fromkeys([*asked, *held]):
        found, wanted = held.get(name), asked.get(name)
        if name in RECORDED_ONLY or (name == "weights" and same_weights) or found == wanted:
            continue
        found, wanted = _by_number(found, wanted), _by_number(wanted, found)
        if isinstance(found, Mapping) and isinstance(wanted, Mapping):
            yield from _differences(found, wanted, f"{above}{name}.")
        else:
            yield f"{above}{name}", found, wanted


def _by_number(value: object, other: object) -> object:
    """A list of objects by their numbers, to be compared one by one with another list of as many."""
    if not isinstance(value, list) or not isinstance(other, list) or len(value) != len(other):
        return value
    return (
        {str(i): item for i, item in enumerate(value)}
        if all(isinstance(i, Mapping) for i in [*value, *other])
        else value
    )


def _said(value: object) -> str:
    if not isinstance(value, list):
        return shown(value, _SHOWN_CHARACTERS)
    text = ", ".join(map(str, value))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(value)})"


# What it was made with ------------------------------------------------------------------------------------------------


def versions_of(packages: Iterable[str]) -> dict[str, str | None]:
    """Package → version; None where it is not installed."""

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {package: found(package) for package in packages}


def remarks_on(made_with: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for readers where not all was made with the same libraries and processor.

    >>> remarks_on([{"versions": {"numpy": "1.26"}}, {"versions": {"numpy": "2.0"}}])
    ['parts were made with different libraries or processors: numpy 1.26 and 2.0']
    """
    values: dict[str, list[str]] = {}
    for one in made_with:
        for name, value in {**one.get("versions", {}), **{n: v for n, v in one.items() if n != "versions"}}.items():
            values.setdefault(name, []).append(str(value))
    changed = [
        f"{name} {' and '.join(dict.fromkeys(all_of_it))}"
        for name, all_of_it in values.items()
        if any(a != b for a, b in pairwise(all_of_it))
    ]
    return [f"parts were made with different libraries or processors: {', '.join(changed)}"] if changed else []


# The folder -----------------------------------------------------------------------------------------------------------


class RunFolder:
    """A job's folder, held by this run alone; a context manager.

    Args:
        path: it is made where it is not there; the folder around it must be.
        made_with: libraries and processor of this run, recorded with every part that it makes.
        shown_as: what messages call it, where that is not `path`.
        records: folder of the records, in `path`.

    Raises:
        OutputError: it cannot be written, or another run is writing it.
    """

    def __init__(
        self, path: Path, made_with: Mapping[str, Any], *, shown_as: Path | None = None, records: str = RECORDS
    ) -> None:
        self.path, self.made_with = path, dict(made_with)
        self._shown, self._records = shown_as or path, path / records
        self._lock = FileLock(path / LOCK, timeout=0)

    def __enter__(self) -> RunFolder:
        if not self.path.parent.is_dir():
            raise OutputError(
                f"{self._shown}: the folder {self.path.parent} does not exist; expected an existing folder"
            )
        with self.writing():
            self.path.mkdir(exist_ok=True)
            check_no_link(self.path / LOCK, self.path)
            try:
                self._lock.acquire()
            except Timeout:
                raise self._in_use() from None
        try:
            if not (self.path / LOCK).exists():  # removed with the folder by a run that ended just now
                raise self._in_use()
            with self.writing():
                self._remove_leftovers()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if isinstance(error, KeyboardInterrupt):
            error.add_note(RESUMES)

    def _in_use(self) -> OutputError:
        return OutputError(f"{self._shown}: another run is writing it; expected one at a time")

    def _remove_leftovers(self) -> None:
        """Remove what killed runs left. Links, which no run makes, are refused: writing would follow them."""
        for folder, folders, files in os.walk(self.path):
            for name in [*folders, *files]:
                check_no_link(Path(folder, name), Path(folder))
            for file in map(Path(folder).joinpath, files):
                if is_leftover(file) and file.name != LOCK:
                    file.unlink()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one line what a disk that is full, read-only or gone means for the job."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if isinstance(error, NotAFileError):
                raise OutputError(f"{self._shown}: {reason}; expected a folder of files alone") from None
            raise OutputError(
                f"{self._shown}: cannot be written ({reason}; {_free_space(self.path)}); finished parts are kept, and "
                "the same command resumes"
            ) from None

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file of the folder, all or nothing."""
        with self.writing(), written_whole(self.path / name) as file:
            file.write(content)

    # Parts

    def keep(self, part: str, contents: Mapping[str, bytes], **more: Any) -> None:
        """Write the files of a part, each all or nothing, then record it."""
        with self.writing():
            for folder in {(self.path / name).parent for name in contents}:
                folder.mkdir(exist_ok=True)
                flush(folder.parent)
        for name, content in contents.items():
            self.write(name, content)
        self.record(part, contents, **more)

    def record(self, part: str, files: Iterable[str], **more: Any) -> None:
        """Record a part whose files are in their places.

        Args:
            files: relative to the folder.
            more: what else its record says.
        """
        with self.writing():
            flush_below(self.path, files)
            stated = {
                name: {"size": (self.path / name).stat().st_size, "sha256": sha256_of(self.path / name)}
                for name in files
            }
            self._records.mkdir(exist_ok=True)
            flush(self.path)
            with written_whole(self._records / f"{part}.json") as file:
                file.write(as_json({"made_with": self.made_with, **more, "files": stated}))

    def adopt(self, part: str, sha256: Mapping[str, str], **more: Any) -> None:
        """Record a part that an earlier version made without recording it, if its files are there with these hashes."""
        with suppress(OSError):
            if all(sha256_of(self.path / name, self.path) == digest for name, digest in sha256.items()):
                self.record(part, sha256, **more)

    def recorded(self, part: str) -> dict[str, Any] | None:
        """The record of a part; None where it is not done, or its files are not what was recorded."""
        try:
            record = read_json(self._records / f"{part}.json", self.path) or {}
            same = all(
                sha256_of(self.path / name, self.path) == stated["sha256"] for name, stated in record["files"].items()
            )
        except (OSError, InputError, LookupError, TypeError, AttributeError):
            return None
        return record if same else None

    def records(self) -> dict[str, dict[str, Any]]:
        """The record of every part, by its name, whatever became of its files; damaged ones are left out."""
        found = {}
        for path in sorted(self._records.glob("*.json")):
            with suppress(InputError):
                found[path.stem] = read_json(path, self.path) or {}
        return found

    def remove(self, part: str) -> None:
        """Remove a part that others were made from, with its files; nothing where there is none."""
        try:
            stated = (read_json(self._records / f"{part}.json", self.path) or {}).get("files", {})
        except InputError:
            stated = {}
        with self.writing():
            (self._records / f"{part}.json").unlink(missing_ok=True)
            for name in stated:
                check_no_link(self.path / name, self.path)
                (self.path / name).unlink(missing_ok=True)

    def missing(self, parts: Iterable[P], name_of: Callable[[P], str]) -> list[P]:
        """The parts that are not done."""
        return [part for part in parts if self.recorded(name_of(part)) is None]


def different_makings(records: Iterable[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """With what parts were made, each once, in the order of the parts."""
    found = (record.get("made_with") for record in records if record is not None)
    sound = (one for one in found if isinstance(one, dict) and isinstance(one.get("versions", {}), dict))
    return list({json.dumps(one): one for one in sound}.values())


def is_leftover(path: Path) -> bool:
    """Whether a file is a job's lock, or one that a killed run was in the middle of writing: ours, or Zarr's."""
    return path.name == LOCK or (path.name.startswith(".") and path.suffix == PART) or path.suffix == ".partial"


def _free_space(folder: Path) -> str:
    """How much room is left, for messages."""
    try:
        return f"{shutil.disk_usage(folder if folder.exists() else folder.parent).free / 1e6:,.0f} MB free"
    except OSError:
        return "free space unknown"
