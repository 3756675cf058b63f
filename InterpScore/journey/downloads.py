"""What `interpscore data download` fetches: the data sets, where their objects are by default, and the files they become."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from Activation_Extraction.base.downloads.part import BESIDE
from Activation_Extraction.base.errors import InputError, listed_up_to, shown
from Activation_Extraction.base.files import check_file, read_bytes
from Activation_Extraction.base.names import paths_below
from InterpScore.journey.checksums import LARGEST_LIST, LIST_NAME, parse_sums
from InterpScore.journey.folder import Wanted
from InterpScore.journey.s3 import Bucket, Found

BUCKET = "ernesto-interpretability"
BUCKET_VARIABLE = "INTERPSCORE_S3_BUCKET"
_SHOWN = 3


@dataclass(frozen=True)
class DataSet:
    """Data that belongs in one folder.

    Attributes:
        folder: its name, in `Data/` and, by default, in the bucket; about: what it is.
        variable: of the environment, which names another prefix.
    """

    folder: str
    about: str
    variable: str

    @property
    def prefix(self) -> str:
        """Where its objects are, unless an option says otherwise."""
        return os.environ.get(self.variable, f"{self.folder}/")


DATA_SETS = {
    "activations": DataSet("Clip_Activation_Layer", "activations of CLIP", "INTERPSCORE_S3_PREFIX_ACTIVATIONS"),
    "images": DataSet("Image_Data", "images", "INTERPSCORE_S3_PREFIX_IMAGES"),
    "study": DataSet("Prolific_Data", "ratings of a study", "INTERPSCORE_S3_PREFIX_STUDY"),
}


@dataclass(frozen=True)
class Plan:
    """Files to have, and what readers should know of their names and checksums."""

    wanted: Sequence[Wanted]
    notes: Sequence[str]


def plan_download(bucket: Bucket, prefix: str, sums: Mapping[str, str] | None) -> Plan:
    """The objects below a prefix as files of a folder.

    Args:
        prefix: the folder in the bucket, with or without a slash at its end; "" is all of the bucket.
        sums: name below the prefix → SHA-256; None takes the list in the bucket, where there is one.

    Raises:
        InputError, DownloadError: as `Bucket.objects`; or a list that is none.
    """
    prefix = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    found = {one.key.removeprefix(prefix): one for one in bucket.objects(prefix)}
    # Consoles show folders by empty objects whose keys end with a slash.
    files = {name: one for name, one in found.items() if name and not (name.endswith("/") and not one.size)}
    if not files:
        raise InputError(f"{bucket}/{prefix}: empty folders alone; expected files")
    stated = _listed_sums(bucket, files.get(LIST_NAME)) if sums is None else sums
    paths = paths_below(files, BESIDE)
    wanted = [
        Wanted(paths[name], one.size, stated.get(name), bucket.source(one), partial(bucket.check, one))
        for name, one in files.items()
    ]
    notes = [f"{shown(name)} is written as {path}" for name, path in paths.items() if path != name]
    absent = [
        f"{shown(name)} is in the list of SHA-256 and not in {bucket}/{prefix}" for name in stated if name not in files
    ]
    return Plan(wanted, [*listed_up_to(notes, _SHOWN, "names like this"), *listed_up_to(absent, _SHOWN, "like this")])


def _listed_sums(bucket: Bucket, listed: Found | None) -> dict[str, str]:
    if listed is None:
        return {}
    return parse_sums(bucket.small_object(listed.key, LARGEST_LIST), f"{bucket}/{listed.key}")


def read_sums(path: Path) -> dict[str, str]:
    """A list of SHA-256 as `sha256sum` writes it.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        if (size := check_file(path).st_size) > LARGEST_LIST:
            raise InputError(f"{path}: {size:,} bytes; expected a list of up to {LARGEST_LIST:,} bytes")
        return parse_sums(read_bytes(path), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a list of SHA-256") from None
