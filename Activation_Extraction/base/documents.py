"""JSON, YAML, Parquet and NumPy archives from outside: read within limits of size and depth, or refused in one line.

PyYAML, pyarrow and NumPy are imported when something is read, so importing this module is cheap.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from Activation_Extraction.base.errors import InputError, did_you_mean, first_line, shown
from Activation_Extraction.base.files import check_file, read_bytes

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    import yaml
    from numpy.typing import NDArray

LARGEST_JSON = 64 * 2**20
LARGEST_YAML = 100_000
"""Bytes. People write a few thousand; PyYAML takes 20 s for a million."""

DEEPEST = 100
MOST_BITS = 128
"""Of a whole number; larger ones can be neither printed quickly nor computed with."""

_SMALL_TABLE, _MOST_ROWS_A_BYTE = 1_000_000, 100
_SMALL_CONTENT, _MOST_BYTES_A_BYTE = 2**28, 200
"""What a small Parquet file may claim, and what each of its bytes may hold beyond that."""


# JSON -----------------------------------------------------------------------------------------------------------------


def read_json(
    path: Path, within: Path | None = None, *, expected: str = "a JSON object", largest: int = LARGEST_JSON
) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file.

    Args:
        path: the file.
        within: as in `open_file`.
        expected: what messages say that it should be.
        largest: bytes.

    Raises:
        InputError: it cannot be read, or as `parse_json`.
    """
    try:
        size = check_file(path, within).st_size
        if size > largest:
            raise InputError(f"{path}: {size:,} bytes; expected {expected} of up to {largest:,} bytes")
        data = read_bytes(path, within)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    return parse_json(data, str(path), expected)


def parse_json(data: bytes, source: str, expected: str = "a JSON object") -> dict[str, Any]:
    """The object in the bytes of a JSON file, which messages call `source`.

    Texts may have lone surrogates: so names of files that are no text are kept.

    Raises:
        InputError: not JSON in UTF-8, not an object, a key that appears twice, NaN, an infinite or a huge number, or
            nested too deep.
    """
    found = _json_value(data, source, expected)
    if not isinstance(found, dict):
        raise InputError(f"{source}: found {shown(found)}; expected {expected}")
    return found


def parse_json_list(data: bytes, source: str, expected: str = "a JSON list") -> list[Any]:
    """The list in the bytes of a JSON file, which messages call `source`.

    Raises:
        InputError: as `parse_json`; not a list.
    """
    found = _json_value(data, source, expected)
    if not isinstance(found, list):
        raise InputError(f"{source}: found {shown(found)}; expected {expected}")
    return found


def _json_value(data: bytes, source: str, expected: str) -> Any:
    try:
        found = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_each_once, parse_constant=_refuse_constant, parse_float=_finite
        )
        _check_values(found)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{source}, {place}: not JSON ({error.msg}); expected {expected}") from None
    except (_RefusedError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: not JSON ({first_line(error)}); expected {expected}") from None
    except RecursionError:
        raise InputError(f"{source}: not JSON ({_TOO_DEEP}); expected {expected}") from None
    except ValueError:  # Python's limit, whose message tells how to lift it
        raise InputError(f"{source}: not JSON ({_TOO_LARGE}); expected {expected}") from None
    return found


class _RefusedError(ValueError):
    """What is wrong with a document."""


_TOO_DEEP, _TOO_LARGE = f"nested more than {DEEPEST} deep", f"a number of more than {MOST_BITS} bits"


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _RefusedError(_twice(key))
    return found


def _twice(key: object) -> str:
    return f"the key {shown(key)} appears twice"


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name}, which is no number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise _RefusedError(f"the number {shown(text)}, which is too large")
    return value


def _check_values(content: object) -> None:
    """Check depth and whole numbers, without recursion."""
    above: list[Iterator[Any]] = [iter([content])]
    while above:
        for value in above[-1]:
            if isinstance(value, dict | list):
                above.append(iter(value.values() if isinstance(value, dict) else value))
                break
            if isinstance(value, int) and value.bit_length() > MOST_BITS:
                raise _RefusedError(_TOO_LARGE)
        else:
            above.pop()
        if len(above) > DEEPEST + 1:
            raise _RefusedError(_TOO_DEEP)


# YAML -----------------------------------------------------------------------------------------------------------------


def included(folder: Path) -> list[str]:
    """Names of the YAML files that come with a room."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def named_yaml(name_or_path: str | PathLike[str], folder: Path, what: str) -> Path:
    """The YAML file that is meant: one of those in `folder`, by its name, or one of the user's own, by its path.

    Args:
        what: what it is, for messages: "recipe".

    Raises:
        InputError: neither.
    """
    name, path, known = str(name_or_path), Path(name_or_path), included(folder)
    if name in known:
        return folder / f"{name}.yaml"
    if path.is_file():
        return path
    expected = f"expected one of {', '.join(known)}, or a YAML file"
    if path.suffix.lower() in (".yaml", ".yml"):
        raise InputError(f"{what} {path}: no such file; {expected}")
    raise InputError(f"{what}: found {shown(name)}{did_you_mean(name, known)}; {expected}")


def read_yaml(path: str | PathLike[str]) -> Any:
    """The content of a YAML file: mappings with each key once, lists, text, numbers, true, false and null.

    Raises:
        InputError: it cannot be read, is large, is not YAML, or has what recipes do without: anchors and aliases, tags,
            dates, several documents.
    """
    import yaml

    try:
        if (size := check_file(path).st_size) > LARGEST_YAML:
            raise InputError(f"{path}: {size:,} bytes; expected YAML of up to {LARGEST_YAML:,} bytes")
        content = yaml.load(read_bytes(path).decode("utf-8-sig"), _plain_loader())
        _check_values(content)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected YAML") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not YAML ({first_line(error)})") from None
    except yaml.reader.ReaderError as error:
        raise InputError(f"{path}: not YAML (the character {shown(chr(error.character))})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}{place}: not YAML ({error.problem or error.context})") from None
    except _RefusedError as error:
        raise InputError(f"{path}: not YAML ({error})") from None
    except ValueError:
        raise InputError(f"{path}: not YAML ({_TOO_LARGE})") from None
    return content


def _plain_loader() -> type[yaml.SafeLoader]:
    import yaml

    plain = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null")}

    class PlainLoader(yaml.SafeLoader):
        """Of mappings, lists and plain values alone; they cannot become more than was written."""

        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if getattr(event, "anchor", None) is not None:  # of anchors and of aliases
                raise yaml.composer.ComposerError(
                    None, None, "an anchor or alias; expected the values themselves", event.start_mark
                )
            if getattr(event, "tag", None) is not None:
                raise yaml.composer.ComposerError(
                    None, None, f"the tag {shown(event.tag)}; expected values without", event.start_mark
                )
            self.depth += 1
            if self.depth > DEEPEST:
                raise yaml.composer.ComposerError(None, None, _TOO_DEEP, event.start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            if node is not None and node.tag not in plain:
                found = f"{shown(node.value)} is a date or another special value; expected it in quotes"
                raise yaml.composer.ComposerError(None, None, found, node.start_mark)
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    found = "a key that is a list or mapping; expected text or a number"
                    raise yaml.constructor.ConstructorError(None, None, found, key.start_mark)
                if (name := self.construct_object(key)) in seen:
                    raise yaml.constructor.ConstructorError(None, None, _twice(name), key.start_mark)
                seen.add(name)
            return super().construct_mapping(node, deep)

    return PlainLoader


# Arrays and tables ----------------------------------------------------------------------------------------------------


@contextmanager
def parquet_file(
    path: str | PathLike[str], expected: str, within: Path | None = None, **options: Any
) -> Iterator[pq.ParquetFile]:
    """A Parquet file; `within` as in `open_file`, `options` as of pyarrow.

    Raises:
        InputError: it cannot be read, claims more than a file of its size holds, or, within the context, is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        size = check_file(path, within).st_size
        if not size:
            raise InputError(f"{path}: the file is empty; expected {expected}")
        with pq.ParquetFile(path, **options) as file:
            about = file.metadata
            groups = [about.row_group(group) for group in range(about.num_row_groups)]
            rows, content = about.num_rows, sum(group.total_byte_size for group in groups)
            if rows != sum(group.num_rows for group in groups) or rows < 0:
                raise InputError(f"{path}: its parts have other rows than the {rows:,} of all; expected {expected}")
            if rows > max(_SMALL_TABLE, _MOST_ROWS_A_BYTE * size):
                raise InputError(f"{path}: claims {rows:,} rows in {size:,} bytes; expected {expected}")
            if content > max(_SMALL_CONTENT, _MOST_BYTES_A_BYTE * size):
                raise InputError(f"{path}: claims to hold {content:,} bytes in {size:,}; expected {expected}")
            yield file
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        found = f"cannot be read ({reason})" if reason else f"not a readable Parquet file ({first_line(error)})"
        raise InputError(f"{path}: {found}; expected {expected}") from None


def parse_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an uncompressed `.npz`, by name.

    Raises:
        ValueError: damaged, arrays of Python objects, or larger than the file.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(content):
                raise ValueError("arrays larger than the file")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (
        zipfile.BadZipFile,
        OSError,
        LookupError,
        TypeError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise ValueError(first_line(error)) from None
    if any(not hasattr(array, "dtype") for array in found.values()):
        raise ValueError("a member that is no array")
    return found
