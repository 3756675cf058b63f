"""What a user names as a bundle: a folder, or the address of one on any web server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.validation import validated
from Microscope.bundle.format import FORMAT, Bundle, Layer

EXPECTED = "a bundle of `interpscore microscope build`"


def is_address(place: str) -> bool:
    """Whether a place is one on the web.

    >>> is_address("https://example.org/bundle/"), is_address("bundle/")
    (True, False)
    """
    return place.lower().startswith(("http://", "https://"))


def open_bundle(folder: Path) -> Bundle:
    """The bundle in a folder, with its layers checked.

    Raises:
        InputError: no bundle, one of another format, or a layer that lacks a file; one line each.
    """
    found = read_json(folder / "bundle.json", within=folder, expected=EXPECTED)
    if found is None:
        raise InputError(f"{folder}: no bundle.json in it; expected {EXPECTED}")
    if found.get("format") != FORMAT:
        raise InputError(f"{folder / 'bundle.json'}: found format {shown(found.get('format'))}; expected {FORMAT}")
    bundle = validated(Bundle, found, str(folder / "bundle.json"))
    problems = [problem for layer in bundle.layers for problem in _problems_of_layer(folder, layer.key)]
    if problems:
        raise InputError(problems)
    return bundle


def first_files(folder: Path, bundle: Bundle) -> list[str]:
    """Files that the pages read before they can show a unit of the first layer, in their order."""
    if not bundle.layers:
        return ["bundle.json"]
    key = bundle.layers[0].key
    layer = validated(Layer, read_json(folder / key / "layer.json", within=folder), str(folder / key / "layer.json"))
    return ["bundle.json", f"{quote(key)}/layer.json", f"{quote(key)}/{quote(layer.index)}"]


def _problems_of_layer(folder: Path, key: str) -> list[str]:
    if Path(key).name != key or key.startswith("."):
        return [
            f"{folder / 'bundle.json'}, layers: found key {shown(key)}; expected the name of a folder in the bundle"
        ]
    place = folder / key / "layer.json"
    found = read_json(place, within=folder, expected="the description of a layer")
    if found is None:
        return [f"{place}: there is no such file; expected one for each layer in bundle.json"]
    layer = validated(Layer, found, str(place))
    needed = [folder / key / name for name in (layer.index, layer.numbers, layer.concepts) if name]
    return [
        f"{path}: there is no such file; expected it since {place.name} names it"
        for path in needed
        if not path.is_file()
    ]
