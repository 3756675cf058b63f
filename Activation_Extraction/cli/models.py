"""`interpscore models`: lists networks and their layers, fetches and checks weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.errors import InputError, resumable, shown
from Activation_Extraction.base.progress import transfer_progress
from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Activation_Extraction.models.layers import Layer
    from Activation_Extraction.models.registry import ModelSpec
    from Activation_Extraction.models.weights.known import WeightsFile

models_app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@models_app.callback()
def models() -> None:
    """List networks and their layers; download and check weights.

    [bold]interpscore models list[/bold]

    [bold]interpscore models layers clip-rn50x4[/bold]

    [bold]interpscore models download clip-rn50x4[/bold]
    """


@models_app.command("list")
def list_models() -> None:
    """List the networks that can be loaded by name, and whether their weights are on this machine.

    [bold]interpscore models list[/bold]
    """
    from Activation_Extraction.models.registry import available_models

    rows = [("Model", "Weights", "About")]
    rows += [(spec.name, _state(spec), spec.about) for spec in available_models().values()]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, state, about in rows:
        say(f"{name:<{widths[0]}}  {state:<{widths[1]}}  {about}")


@models_app.command()
def layers(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a model, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(help="A weights file or its source, such as tensorflow, whose layers have other names."),
    ] = None,
) -> None:
    """List the layers of a network in the order in which they return, with output shapes and other names.

    Shapes are for one image. Layers of CLIP can be listed without its weights.
    """
    rows = [("Layer", "Shape", "Other names")]
    rows += [
        (layer.name, "×".join(map(str, layer.shape_of_an_image)) or "1", ", ".join(layer.aliases))
        for layer in _listing(name, weights)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for layer_name, shape, others in rows:
        say(f"{layer_name:<{widths[0]}}  {shape:>{widths[1]}}  {others}".rstrip())


@models_app.command()
def download(
    name: Annotated[str, typer.Argument(help="Name of a model, or vocabulary: the merges of CLIP's tokenizer.")],
    source: Annotated[
        str | None,
        typer.Option(help="Which file: huggingface, openai or tensorflow.", show_default="the first available"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder for the files instead of the cache, such as a drive for another machine."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Expected SHA-256 of the weights, where their publisher states none.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Download the weights of a network, and the vocabulary of its tokenizer, into the cache.

    Interrupted downloads resume. The SHA-256 of each file is checked; where the publisher states none, that of the
    first download is recorded, and later downloads must match it.
    """
    from Activation_Extraction.models.weights.cache import download as fetch
    from Activation_Extraction.models.weights.cache import expected_sha256
    from Activation_Extraction.models.weights.known import VOCABULARY

    files = _files(name, source)
    if to is not None and not to.is_dir():
        raise InputError(f"--to {to}: no such folder; expected an existing folder")
    if not files and not quiet:
        say(f"{name} comes with its package; nothing to download")
    for file in files:
        on_trust = expected_sha256(file) is None and sha256 is None
        stated = None if file is VOCABULARY else sha256
        with resumable(), transfer_progress(shown=not quiet) as progress:
            path = fetch(file, to=to, sha256=stated, progress=progress)
        if not quiet:
            say(f"{path}: {file.about}")
        if on_trust:
            recorded = f"{expected_sha256(file)} of this first download is recorded, and later ones must match it"
            say(f"note: no SHA-256 is published for {file.name}; {recorded}", error=True)


@models_app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of a model, or the path of a weights file.")],
    sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the file at that path.")] = None,
) -> None:
    """Check the SHA-256 of a model's weights, or read a file and say what it is.

    The exit code is 1 when no weights of the model are on this machine.
    """
    from Activation_Extraction.models.registry import NICKNAMES, available_models

    if name == "vocabulary" or name in (*available_models(), *NICKNAMES):
        if sha256 is not None:
            raise InputError(f"--sha256: found with the name {shown(name)}; expected it with the path of a file")
        files = _files(name, None, every=True)
        if not files:
            say(f"{name} comes with its package")
            return
        here = [file.kind for file in files if _is_intact(file)]
        only_merges = set(here) == {"vocabulary"} and len(files) > 1
        raise typer.Exit(1 if not here or only_merges else 0)
    say(_what_it_is(Path(name), sha256))


def _state(spec: ModelSpec) -> str:
    """Where the weights of a model are, by their sources."""
    from Activation_Extraction.models.weights.cache import find_weights

    if spec.embedded or not spec.files:
        return "embedded"
    here, damaged = [], []
    for file in spec.files:
        try:
            here += [file.source] if find_weights(file) else []
        except InputError:
            damaged.append(file.source)
    if damaged:
        return f"damaged: {', '.join(damaged)}"
    return f"here: {', '.join(here)}" if here else f"to download: {', '.join(file.source for file in spec.files)}"


def _listing(name: str, weights: str | None) -> list[Layer]:
    import torch

    from Activation_Extraction.models.clip import CLIP, CONFIGS
    from Activation_Extraction.models.layers import LayerNames, clip_aliases
    from Activation_Extraction.models.registry import find_spec, load_model

    config = CONFIGS.get(find_spec(name).name)
    if weights is None and config is not None:
        with torch.device("meta"):
            tower = CLIP(config).visual
            example = torch.empty(1, 3, config.image_resolution, config.image_resolution)
        return LayerNames(tower, clip_aliases(tower)).listing(example)
    model = load_model(name, weights=weights)
    return model.layers.listing(model.example())


def _files(name: str, source: str | None, *, every: bool = False) -> list[WeightsFile]:
    """The weights of a model (of one source, or of all), and the merges of its tokenizer."""
    from Activation_Extraction.models.clip import CONFIGS
    from Activation_Extraction.models.registry import find_spec
    from Activation_Extraction.models.weights.known import VOCABULARY

    if name == "vocabulary":
        return [VOCABULARY]
    spec = find_spec(name)
    chosen = [file for file in spec.files if source in (None, file.source)]
    if source is not None and not chosen:
        known = " or ".join(file.source for file in spec.files) or "none, as it comes with its package"
        raise InputError(f"--source {source}: not for {spec.name}; expected {known}")
    weights = chosen if every else chosen[:1]
    return [*weights, VOCABULARY] if weights and spec.name in CONFIGS else weights


def _is_intact(file: WeightsFile) -> bool:
    from Activation_Extraction.base.files import sha256_of
    from Activation_Extraction.models.weights.cache import expected_sha256, find_weights, how_to_get

    path = find_weights(file)
    if path is None:
        say(f"{file.name}: not on this machine; {how_to_get(file)}")
        return False
    digest, expected = sha256_of(path), expected_sha256(file)
    if digest != expected:
        raise InputError(f"{path}: SHA-256 {digest}; expected {expected}: remove it, or download it again")
    say(f"{path}: intact, SHA-256 {digest}{'' if file.sha256 else ', as recorded at the first download'}")
    return True


def _what_it_is(path: Path, sha256: str | None) -> str:
    from Activation_Extraction.base.files import sha256_of
    from Activation_Extraction.models.frozen_graph.graph_def import read_graph_def
    from Activation_Extraction.models.weights.cache import read_state_dict
    from Activation_Extraction.models.weights.known import WEIGHTS

    if path.suffix == ".pb":
        content = f"a TensorFlow graph of {len(read_graph_def(path, sha256=sha256)):,} nodes"
    else:
        state = read_state_dict(path, sha256=sha256)
        content = f"{sum(tensor.numel() for tensor in state.values()):,} numbers in tensors: {len(state):,}"
    digest = sha256_of(path)
    known = next((file.about for file in WEIGHTS.values() if file.sha256 == digest), "not a known file")
    return f"{path}: {content}; {known}; SHA-256 {digest}"
