"""Models by name: finds their weights and loads each once.

    load_model("clip-mini")                                embedded, works offline
    load_model("clip-rn50x4")                              from the cache; `interpscore models download clip-rn50x4`
    load_model("clip-rn50x4", weights="image32.pb")        a file: safetensors, OpenAI's archive, a frozen graph
    load_model("clip-rn50x4", weights="random")            untrained, for tests and baselines
    load_model("my_file.py:load")                          what a function in a Python file gives; runs the file

Other packages add models through the entry-point group `interpscore.models`: each entry is a `ModelSpec`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache, cached_property, partial
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.run_folder import RECORDED_ONLY, UNTRAINED, versions_of
from Activation_Extraction.base.text import html_table
from Activation_Extraction.clip_helpers import CLIP_MEAN, CLIP_STD, ImageInput
from Activation_Extraction.models.clip import CLIP, CONFIGS, build_clip
from Activation_Extraction.models.layers import LayerNames, clip_aliases, graph_aliases
from Activation_Extraction.models.own_file import FILE_SHA256, OwnFile, names_a_file
from Activation_Extraction.models.resources import check_fits, device_named, limited_threads, parse_bytes, processor
from Activation_Extraction.models.tokenizer import Tokenizer, read_merges
from Activation_Extraction.models.untrained import initialize
from Activation_Extraction.models.weights.cache import expected_sha256, find_weights, how_to_get, read_state_dict
from Activation_Extraction.models.weights.known import VOCABULARY, WEIGHTS, WeightsFile
from Activation_Extraction.models.weights.state import state_hash

if TYPE_CHECKING:
    import pandas as pd

ENTRY_POINT_GROUP = "interpscore.models"
RANDOM = "random"
CPU = torch.device("cpu")
NICKNAMES = {"clip": "clip-rn50x4"}
_OF_ONE_CALL = ("device", "threads", "memory_limit", "again")


@dataclass(frozen=True, eq=False)
class Model:
    """A network that is ready to use; loading it again gives the same network.

    Attributes:
        name: the name it was loaded by.
        module: the complete network, in evaluation mode, without gradients of parameters.
        image_tower: what a batch of images goes through; its submodules are the layers.
        image_input: size and value range of its images.
        layers: the names of its layers.
        provenance: where its weights come from.
        make_tokenizer: gives the tokenizer for `module.encode_text`; None without a text tower.
        device: where it runs; threads: CPU threads it may use (None: all); memory_limit: bytes (None: no limit).
        again: loads it in another process, given device, threads and memory limit; None for a model of another origin.
    """

    name: str
    module: nn.Module
    image_tower: nn.Module
    image_input: ImageInput
    layers: LayerNames
    provenance: Mapping[str, str] = field(default_factory=dict)
    make_tokenizer: Callable[[], Tokenizer] | None = None
    device: torch.device = CPU
    threads: int | None = None
    memory_limit: int | None = None
    again: Callable[..., Model] | None = None

    def __reduce__(self) -> Any:
        """Pickled as its name, and loaded again from the same weights; of another origin or changed, with all it holds."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.again is not None:
            again = partial(self.again, device=self.device, threads=self.threads, memory_limit=self.memory_limit)
            loaded = again()  # it was before, and is shared
            if all(getattr(loaded, name) is value for name, value in values.items() if name not in _OF_ONE_CALL):
                return again, ()
        return Model, tuple({**values, "again": None}.values())

    @property
    def identity(self) -> dict[str, Any]:
        """The network and its weights, whatever libraries run it; nested, so that files can add their own names."""
        return {"model": self.name, "provenance": {n: v for n, v in self.provenance.items() if n not in RECORDED_ONLY}}

    @property
    def made_with(self) -> dict[str, Any]:
        """What is recorded with all that is computed by it: versions of libraries, kind of processor, threads."""
        versions = versions_of(["interpscore", "torch", "numpy", "pillow"])
        return {
            "versions": {**{n: v for n, v in self.provenance.items() if n in RECORDED_ONLY}, **versions},
            "processor": processor(self.device),
            "threads": self.threads or torch.get_num_threads(),
        }

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text tower.

        Raises:
            InputError: the model has no text tower, or its vocabulary is not on this machine.
        """
        if self.make_tokenizer is None:
            raise InputError(f"{self.name}: no text tower with these weights; expected a model with one")
        return self.make_tokenizer()

    def encode_image(self, images: Tensor) -> Tensor:
        """Embeddings `(N, E)` of preprocessed images (`clip_helpers.prepare`), not normalised."""
        with limited_threads(self.threads):
            embeddings: Tensor = self.image_tower(images.to(self.device))
        return embeddings

    def encode_text(self, texts: str | list[str]) -> Tensor:
        """Embeddings `(N, E)` of texts, not normalised.

        Raises:
            InputError: no text tower, no vocabulary, or a text that is too long.
        """
        tokens = self.tokenizer(texts).to(self.device)
        network: Any = self.module
        with limited_threads(self.threads):
            embeddings: Tensor = network.encode_text(tokens)
        return embeddings

    def to_frame(self) -> pd.DataFrame:
        """The layers in the order in which they return: name, shape for one image, number of units, other names."""
        import pandas as pd

        layers = self.layers.listing(self.example())
        return pd.DataFrame(
            {
                "layer": [layer.name for layer in layers],
                "shape": ["×".join(map(str, layer.shape_of_an_image)) or "1" for layer in layers],
                "units": pd.array([layer.units for layer in layers], "Int64"),
                "other names": [", ".join(layer.aliases) for layer in layers],
            }
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: its layers, and where its weights are from."""
        frame = self.to_frame()
        rows = frame.astype(object).where(frame.notna(), "–").itertuples(index=False)
        takes = f"{self.image_input.height} × {self.image_input.width} pixels on {self.device}"
        notes = [f"{name}: {value}" for name, value in self.provenance.items()]
        return html_table(["Layer", "Shape", "Units", "Other names"], rows, f"{self.name}: {takes}", notes)

    def example(self) -> Tensor:
        """A batch of one image of zeros, in the shape that the image tower takes."""
        height, width = self.image_input.height, self.image_input.width
        shape = (1, 3, height, width) if self.image_input.layout == "NCHW" else (1, height, width, 3)
        return torch.zeros(shape, device=self.device)


@dataclass(frozen=True)
class ModelSpec:
    """A model that `load_model` can load by name.

    Attributes:
        name: lower case, such as `clip-rn50x4`.
        about: one line for people.
        load: makes the model from a weights file, `RANDOM` weights, or (None) its embedded ones; the second argument
            is the expected SHA-256 of the file, or None.
        files: weights that can be downloaded, in order of preference.
        embedded: whether `load(None, None)` works without a download.
    """

    name: str
    about: str
    load: Callable[[Path | str | None, str | None], Model]
    files: tuple[WeightsFile, ...] = ()
    embedded: bool = False


def load_model(
    name: str = "clip-mini",
    *,
    weights: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    memory_limit: int | str | None = None,
) -> Model:
    """A model by name; loaded once for each device and weights file, and shared.

    Args:
        name: one of `available_models()` ("clip" is CLIP RN50x4), or a Python file and the name in it of a function that
            returns a `Model`, or of a `Model`: `my_file.py:load`. The file is run, so pass only names that a user typed.
        weights: a file, a source of `interpscore models list` (such as "tensorflow"), "random", or None: the embedded
            weights, else the first of its files that is in the cache.
        sha256: expected hash of the weights file, checked before it is parsed.
        device: such as "cpu", "cuda:1".
        threads: CPU threads; None leaves it to torch. Torch has one setting for the process, so overlapping calls in
            several Python threads should use the same number.
        memory_limit: for weights and batches, in bytes or as a text such as "4 GB"; Python and torch take about
            450 MB more. Larger weights are refused, batches of extraction are made to fit, and on CUDA the allocator
            is limited.

    Raises:
        InputError: no such model; weights that are missing (with what to fetch, and where to put it), unreadable or of
            another network; no such device; a limit below the size of the weights.
    """
    spec = find_spec(name)
    file, expected = _weights_of(spec, weights)
    target = device_named(device)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads: found {shown(threads)}; expected a whole number of at least 1")
    limit = None if memory_limit is None else parse_bytes(memory_limit)
    if isinstance(file, Path):
        check_fits(file, limit)
    if sha256 is not None and file == RANDOM:
        raise InputError(f"sha256: found {shown(sha256, 80)} with random weights; expected a weights file")
    model = _loaded(spec, file, expected if sha256 is None else sha256.strip().lower(), target)
    if names_a_file(name):
        hashes = {key: value for key, value in model.provenance.items() if key.startswith(FILE_SHA256)}
        again = partial(_unchanged, str(OwnFile.read(name).path.with_name(spec.name)), hashes)
    else:
        again = partial(load_model, spec.name, weights=file, sha256=model.provenance.get("weights_sha256"))
    model = replace(model, threads=threads, memory_limit=limit, again=again)
    check_fits(model.module, limit, model.name, target)
    return model


def available_models() -> dict[str, ModelSpec]:
    """All models by name: ours, then those of other packages and of `register_model`."""
    return {**_OURS, **_of_other_packages(), **_registered}


def find_spec(name: str) -> ModelSpec:
    """The model of that name; `InputError` with the nearest names when there is none. Runs nothing."""
    if names_a_file(str(name)):
        return _spec_of(OwnFile.read(str(name)))
    wanted = str(name).strip().lower().replace("_", "-")
    wanted = NICKNAMES.get(wanted, wanted)
    if wanted in _OURS:  # even if entry points of other packages fail
        return _OURS[wanted]
    known = available_models()
    if wanted not in known:
        near = get_close_matches(wanted, [*known, *NICKNAMES], n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(near)}" if near else f"expected one of {', '.join([*known, *NICKNAMES])}"
        raise InputError(f"no model {shown(name)}; {hint}")
    return known[wanted]


def register_model(spec: ModelSpec) -> None:
    """Make a model available by its name in this process.

    Raises:
        InputError: the name is one of ours, or not in lower case.
    """
    if spec.name in _OURS or spec.name in NICKNAMES:
        raise InputError(f"register_model: the name {shown(spec.name)} is taken; expected another one")
    if spec.name != spec.name.strip().lower().replace("_", "-"):
        raise InputError(f"register_model: the name {shown(spec.name)}; expected lower case, words joined by '-'")
    _registered[spec.name] = spec


# Loading ------------------------------------------------------------------------------------------------------------


class _CachedModel(NamedTuple):
    """A loaded model and its origin."""

    spec: ModelSpec
    fingerprint: tuple[int, int] | None
    sha256: str | None
    model: Model


_cache: dict[tuple[str, Path | str | None, torch.device], _CachedModel] = {}
_loading = RLock()


def _loaded(spec: ModelSpec, file: Path | str | None, sha256: str | None, device: torch.device) -> Model:
    """The cached model, unless its file or spec has changed since."""
    with _loading:  # threads that ask at the same time get the same model
        key, fingerprint = (spec.name, file, device), _fingerprint(file)
        cached = _cache.get(key)
        if cached and (cached.spec, cached.fingerprint) == (spec, fingerprint):
            if sha256 in (None, cached.sha256, cached.model.provenance.get("weights_sha256")):
                return cached.model
        else:
            _cache.pop(key, None)  # first: the memory may not hold two
        del cached
        model = spec.load(file, sha256)
        model.module.eval().requires_grad_(False).to(device)
        provenance = {**model.provenance, "torch": torch.__version__}
        model = replace(model, name=spec.name, provenance=provenance, device=device)
        _cache[key] = _CachedModel(spec, fingerprint, sha256, model)
        return model


def _fingerprint(file: Path | str | None) -> tuple[int, int] | None:
    """Size and time of a file, which change with its content."""
    if not isinstance(file, Path):
        return None
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _weights_of(spec: ModelSpec, weights: str | os.PathLike[str] | None) -> tuple[Path | str | None, str | None]:
    """The file to load, `RANDOM`, or None for embedded weights; and the SHA-256 of a known file."""
    if weights == RANDOM:
        return RANDOM, None
    if weights is None and (spec.embedded or not spec.files):
        return None, None
    sources = {file.source: file for file in spec.files}
    if weights is None or weights in sources:
        wanted = spec.files if weights is None else (sources[str(weights)],)
        damaged = []
        for file in wanted:
            try:
                if (found := find_weights(file)) is not None:
                    return found, expected_sha256(file)
            except InputError as error:  # the file of another source may be intact
                damaged += error.problems
        if damaged:
            raise InputError(damaged)
        source = "" if weights is None else f" --source {weights}"
        raise InputError(
            f"{spec.name}: its weights are not on this machine; run `interpscore models download {spec.name}{source}`, "
            f"or {how_to_get(wanted[0])}"
        )
    path = Path(weights)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        known = f", or one of {', '.join(sources)}" if sources else ""
        raise InputError(f"weights {path}: {problem}; expected a weights file, '{RANDOM}'{known}")
    return path.absolute(), None


def _of_other_packages() -> dict[str, ModelSpec]:
    specs = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            spec = point.load()
        except (ImportError, AttributeError) as error:
            raise InputError(f"entry point {point.name} ({point.value}): cannot be imported ({error})") from None
        if not isinstance(spec, ModelSpec):
            raise InputError(f"entry point {point.name} ({point.value}): {type(spec).__name__}; expected a ModelSpec")
        if spec.name not in _OURS:
            specs[spec.name] = spec
    return specs


# Models in files of the user's own ------------------------------------------------------------------------------------


@cache  # so that a file that did not change is loaded once
def _spec_of(file: OwnFile) -> ModelSpec:
    def load(weights: Path | str | None, sha256: str | None) -> Model:
        if weights is not None or sha256 is not None:
            raise InputError(f"weights: found with {file.label}; expected none: its code loads its own weights")
        model = file.run()
        if not isinstance(model, Model):
            raise InputError(
                f"{file.path}: {file.name} gives {type(model).__name__}; expected a Model, as "
                "Activation_Extraction.models.adapters.from_module makes of a network"
            )
        ours = {"file": file.path.name, **file.hashes, **state_hash(model.module)}
        return replace(model, provenance={**model.provenance, **ours})

    return ModelSpec(file.label, "a model in a Python file", load, embedded=True)


def _unchanged(name: str, hashes: Mapping[str, str], **options: Any) -> Model:
    """The model of a file, in another process; refused where the file, or one that it imports, has changed since."""
    if OwnFile.read(name).hashes != hashes:
        raise InputError(f"{name}: has changed since it was loaded; expected it to stay unchanged during a run")
    return load_model(name, **options)


# Our own models -----------------------------------------------------------------------------------------------------


def _clip(name: str) -> Callable[[Path | str | None, str | None], Model]:
    def load(file: Path | str | None, sha256: str | None) -> Model:
        embedded = files("Activation_Extraction.models.clip_mini")
        if isinstance(file, Path) and file.suffix == ".pb":
            return _frozen_graph(name, file, sha256)
        if file == RANDOM:
            with torch.device("meta"):
                network = CLIP(CONFIGS[name])
            initialize(network.to_empty(device="cpu"), 0, name)
            origin = {"weights": f"{UNTRAINED}0"}
        else:
            path = file if isinstance(file, Path) else Path(str(embedded / "weights.safetensors"))
            network = build_clip(read_state_dict(path, sha256=sha256), str(path))
            if network.config != CONFIGS[name]:
                raise InputError(f"{path}: the weights of {_described(network)}; expected those of {name}")
            origin = {"weights": path.name, "weights_sha256": sha256_of(path)}

        def tokenizer() -> Tokenizer:
            if name == "clip-mini":
                return Tokenizer(read_merges(Path(str(embedded / "vocabulary.txt"))), network.context_length)
            found = find_weights(VOCABULARY)
            if found is None:
                raise InputError(
                    f"{name}: the vocabulary of its text tower is not on this machine; {how_to_get(VOCABULARY)}"
                )
            return Tokenizer(read_merges(found), network.context_length)

        return Model(
            name=name,
            module=network,
            image_tower=network.visual,
            image_input=ImageInput(network.config.image_resolution, CLIP_MEAN, CLIP_STD),
            layers=LayerNames(network.visual, clip_aliases(network.visual), prefix="visual."),
            provenance=origin,
            make_tokenizer=tokenizer,
        )

    return load


def _described(network: CLIP) -> str:
    other = f"a CLIP with stages {network.config.vision_layers}, {network.config.units} units"
    return next((name for name, config in CONFIGS.items() if config == network.config), other)


def _frozen_graph(name: str, path: Path, sha256: str | None) -> Model:
    from Activation_Extraction.models.frozen_graph.module import load_frozen_graph

    graph = load_frozen_graph(path, sha256=sha256)
    nodes = [layer for layer, _ in graph.named_modules() if layer]
    return Model(
        name=name,
        module=graph,
        image_tower=graph,
        image_input=ImageInput(CONFIGS[name].image_resolution, value_range="0-255", layout="NHWC", preset="published"),
        layers=LayerNames(graph, graph_aliases(nodes), axis=lambda node, shape: graph.unit_axis(node)),
        provenance={
            "weights": path.name,
            "weights_sha256": sha256_of(path),
            "format": "TensorFlow frozen graph",
            "embedding": graph.output_name,
        },
    )


_ABOUT = {
    "clip-mini": "96 px, 31 drawn concepts; embedded, for demos and tests",
    "clip-rn50x4": "288 px, the network of the multimodal-neurons paper",
}
_OURS = {
    name: ModelSpec(
        name,
        f"CLIP, {config.units:,} units in layer4, {_ABOUT.get(name, f'{config.image_resolution} px')}",
        _clip(name),
        tuple(file for file in WEIGHTS.values() if file.model == name),
        embedded=name == "clip-mini",
    )
    for name, config in CONFIGS.items()
}
_registered: dict[str, ModelSpec] = {}
