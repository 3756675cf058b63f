"""Names of layers: a network's own submodule paths, aliases of the same layers, and a listing with shapes.

`layer4.5` (the path in CLIP's checkpoints), `visual.layer4.5`, `image_block_4/5/Relu_2` (the node of the TensorFlow
frozen graph) and `image_block_4/5/Relu_2:0` (its output) are one layer, in upper or lower case.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.modified_resnet import Bottleneck, ModifiedResNet
from Activation_Extraction.models.trace import EVERY, trace, unknown_layer

STEPS = {
    "c1/Conv2D": "conv1", "Relu": "relu1", "c2/Conv2D": "conv2", "Relu_1": "relu2", "c3/Conv2D": "conv3", "Relu_2": "",
}  # fmt: skip
"""Nodes of a block of CLIP's frozen graph → submodules of a `Bottleneck`; "" is the block itself."""

STEPS_WITHOUT_DOWNSAMPLING = {"add_1": "bn1", "add_5": "bn3", "add_6": "add"}
"""Further nodes, whose numbers are known only in blocks without a downsampling branch (not in unit 0)."""


def unit_axis(shape: Sequence[int]) -> int | None:
    """The axis that holds the units of an output: NCHW → 1, tokens NTD → 2, NU → 1; None for other shapes."""
    return {4: 1, 3: 2, 2: 1}.get(len(shape))


@dataclass(frozen=True)
class Layer:
    """One layer, or one call of a layer that runs several times (`relu#2`).

    `shape` is that of its output, the batch first; `units` is None where the axis of units is not known.
    """

    name: str
    shape: tuple[int, ...]
    units: int | None
    aliases: tuple[str, ...]


class LayerNames:
    """All names of the layers of a network.

    Args:
        module: what a batch of images goes through; the paths of its submodules are the canonical names.
        aliases: other name → canonical name.
        prefix: path of `module` in a larger network, such as `visual.`, accepted at the start of a name.
        axis: function from a layer's canonical name and output shape to the axis of its units, where the function
            `unit_axis` is wrong (channels last).

    Raises:
        InputError: an alias of a layer that does not exist.
    """

    def __init__(
        self,
        module: nn.Module,
        aliases: Mapping[str, str] | None = None,
        *,
        prefix: str = "",
        axis: Callable[[str, Sequence[int]], int | None] | None = None,
    ) -> None:
        self._module = module
        self._prefix = prefix
        self._axis = axis
        self._known: dict[tuple[torch.Size, torch.dtype], dict[str, tuple[int, ...]]] = {}
        aliases = aliases or {}
        first: dict[nn.Module, str] = {layer: name for name, layer in module.named_modules()}
        paths = {name: first[layer] for name, layer in module.named_modules(remove_duplicate=False) if name}
        self.names = tuple(name for name in first.values() if name)
        if unknown := [name for name in aliases.values() if name not in paths]:
            raise InputError([unknown_layer(name, self.names) for name in dict.fromkeys(unknown)])
        self._canonical: dict[str, str] = paths | {a: paths[name] for a, name in aliases.items() if a not in paths}
        self._folded: dict[str, set[str]] = {}
        for spelling, name in self._canonical.items():
            self._folded.setdefault(spelling.casefold(), set()).add(name)
        self._aliases: dict[str, list[str]] = {}
        for alias, name in self._canonical.items():
            if alias != name:
                self._aliases.setdefault(name, []).append(alias)

    def resolve(self, name: str) -> str:
        """The canonical name of a layer, with `#2` for its second call and without `:0`.

        Ignores case where no name has the exact spelling and only one layer matches.

        Raises:
            InputError: no such layer; the message has the nearest names, or the range of block numbers.
        """
        if not isinstance(name, str):
            raise InputError(f"layer: found {shown(name)}; expected a name such as {', '.join(self.names[-3:])}")
        parts = re.fullmatch(r"(.*?)(:0)?(#[1-9][0-9]*)?(:0)?", name, re.DOTALL)
        assert parts
        plain, number = parts[1], parts[3] or ""
        for candidate in (plain, plain.removeprefix(self._prefix)):
            if candidate in self._canonical:
                return self._canonical[candidate] + number
        plain = plain.removeprefix(self._prefix)
        if len(names := self._folded.get(plain.casefold(), set())) == 1:
            return next(iter(names)) + number
        raise InputError(_out_of_range(name, plain, self._canonical) or unknown_layer(name, self._canonical))

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """The other names of a layer, given its canonical one."""
        return tuple(self._aliases.get(name, ()))

    def unit_axis(self, name: str, shape: Sequence[int]) -> int | None:
        """The axis of units in a layer's output; None where it is not known."""
        return self._axis(self.resolve(name), shape) if self._axis else unit_axis(shape)

    def listing(self, example: Tensor) -> list[Layer]:
        """Every layer that runs on an image batch, in the order in which they return.

        The network runs on the meta device, without computing; if it needs values, on `example` itself.

        Args:
            example: a batch of images as the network takes them; only its shape and type matter.
        """
        shapes = self._calls(example)
        times = Counter(call.rpartition("#")[0] for call in shapes)
        layers = []
        for call, shape in shapes.items():
            if name := call.rpartition("#")[0]:
                axis = self.unit_axis(name, shape)
                units = None if axis is None else shape[axis]
                layers.append(Layer(call if times[name] > 1 else name, shape, units, self.aliases_of(name)))
        return layers

    def shapes(self, example: Tensor) -> dict[str, tuple[int, ...]]:
        """Canonical name (with `#` where a layer runs several times) → shape of the output, as in `listing`."""
        return {layer.name: layer.shape for layer in self.listing(example)}

    def _calls(self, example: Tensor) -> dict[str, tuple[int, ...]]:
        kind = example.shape, example.dtype
        if kind not in self._known:
            try:
                found = _shapes(_without_values(self._module), torch.empty_like(example, device="meta"))
            except RuntimeError:  # an operation that needs values, or tensors that are neither parameters nor buffers
                found = _shapes(self._module, example)
            self._known[kind] = found
        return self._known[kind]


def clip_aliases(tower: ModifiedResNet) -> dict[str, str]:
    """Nodes of CLIP's frozen graph, and `block_4` for a stage → submodules of the image tower."""
    aliases = {}
    for stage in (1, 2, 3, 4):
        aliases[f"block_{stage}"] = f"layer{stage}"
        for unit, block in enumerate(getattr(tower, f"layer{stage}")):
            assert isinstance(block, Bottleneck)
            steps = STEPS if block.downsample is not None else {**STEPS, **STEPS_WITHOUT_DOWNSAMPLING}
            for node, step in steps.items():
                aliases[f"image_block_{stage}/{unit}/{node}"] = f"layer{stage}.{unit}.{step}".rstrip(".")
    return aliases


def graph_aliases(nodes: Iterable[str]) -> dict[str, str]:
    """The inverse: paths such as `layer4.5`, and `block_4` → nodes that the frozen graph has."""
    aliases = {}
    matches = (re.fullmatch(r"image_block_([1-4])/([0-9]+)/(.+)", node) for node in nodes)
    for stage, unit, step, node in sorted((m[1], int(m[2]), m[3], m[0]) for m in matches if m):
        steps = {**STEPS, **STEPS_WITHOUT_DOWNSAMPLING} if unit else STEPS
        if step in steps:
            aliases[f"layer{stage}.{unit}.{steps[step]}".rstrip(".")] = node
        if step == "Relu_2":  # the last unit's is the output of the stage
            aliases[f"layer{stage}"] = aliases[f"block_{stage}"] = node
    return aliases


def _out_of_range(name: str, plain: str, known: Iterable[str]) -> str | None:
    """The message for a block number that is out of range, as in `layer4.9` or `image_block_4/9/Relu_2`."""
    known = list(known)
    for found in re.finditer(r"(?<=[./])[0-9]+(?=[./]|\Z)", plain):
        before = plain[: found.start()]
        siblings = [re.split("[./]", other[len(before) :])[0] for other in known if other.startswith(before)]
        numbers = {int(sibling) for sibling in siblings if re.fullmatch("[0-9]{1,9}", sibling)}
        if numbers and found[0] not in siblings:
            return f"no layer {shown(name)}: {before[:-1]} has blocks {min(numbers)} to {max(numbers)}"
    return None


def _shapes(module: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    with torch.no_grad(), trace(module, EVERY, reduce=lambda x: tuple(x.shape)) as retained:
        module(example)
    return dict(retained)


def _without_values(module: nn.Module) -> nn.Module:
    """A copy with its parameters and buffers on the meta device."""
    memo: dict[int, object] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    return copy.deepcopy(module, memo)
