"""Names of layers: a network's own submodule paths, aliases of the same layers, and a listing with shapes.

`layer4.5` (the path in CLIP's checkpoints), `visual.layer4.5`, `image_block_4/5/Relu_2` (the node of the TensorFlow
frozen graph) and `image_block_4/5/Relu_2:0` (its output) are one layer, in upper or lower case.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.models.axes import Axes, Axis, Shape, find_axes
from Activation_Extraction.models.modified_resnet import Bottleneck, ModifiedResNet
from Activation_Extraction.models.trace import EVERY, trace, unknown_layer

STEPS = {
    "c1/Conv2D": "conv1", "Relu": "relu1", "c2/Conv2D": "conv2", "Relu_1": "relu2", "c3/Conv2D": "conv3", "Relu_2": "",
}  # fmt: skip
"""Nodes of a block of CLIP's frozen graph → submodules of a `Bottleneck`; "" is the block itself."""

STEPS_WITHOUT_DOWNSAMPLING = {"add_1": "bn1", "add_5": "bn3", "add_6": "add"}
"""Further nodes, whose numbers are known only in blocks without a downsampling branch (not in unit 0)."""


_SMALL = 2**25
"""Bytes of weights of networks that run in less time than PyTorch takes for its first operation on the meta device (1 s)."""


@dataclass(frozen=True)
class Layer:
    """One layer, or one call of a layer that runs several times (`relu#2`).

    `shape` is that of its output for a batch; `axes` is None where those of images and units are not known.
    """

    name: str
    shape: tuple[int, ...]
    axes: Axes | None
    aliases: tuple[str, ...]

    @property
    def units(self) -> int | None:
        """Number of units; None where their axis is not known."""
        return None if self.axes is None else self.shape[self.axes.units]

    @property
    def shape_of_an_image(self) -> tuple[int, ...]:
        """The shape without the axis of images, taken as the first where it is not known."""
        images = 0 if self.axes is None else self.axes.images
        return self.shape[:images] + self.shape[images + 1 :]


class LayerNames:
    """All names of the layers of a network.

    Args:
        module: what a batch of images goes through; the paths of its submodules are the canonical names.
        aliases: other name → canonical name.
        prefix: path of `module` in a larger network, such as `visual.`, accepted at the start of a name.
        axis: the axis of units of each layer, where `axes.unit_axis` is wrong (channels last).
        image_axis: the axis of images of each layer, where `axes.find_axes` cannot tell (networks that run batches of
            one size only).

    Attributes:
        checked: layers whose axes were found to hold what they should, in runs of the network.

    Raises:
        InputError: an alias of a layer that does not exist.
    """

    def __init__(
        self,
        module: nn.Module,
        aliases: Mapping[str, str] | None = None,
        *,
        prefix: str = "",
        axis: Axis | None = None,
        image_axis: Axis | None = None,
    ) -> None:
        self._module = module
        self._prefix = prefix
        self._axis, self._image_axis = axis, image_axis
        self.checked: dict[str, Axes] = {}
        self._known: dict[tuple[torch.Size, torch.dtype], dict[str, dict[int, tuple[int, ...]]]] = {}
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

    def axes(self, name: str, shapes: Mapping[int, Shape]) -> Axes:
        """The axes of images and units in a layer's output, from its shape for each number of images; see `find_axes`."""
        return find_axes(self.resolve(name), shapes, self._axis, self._image_axis)

    def listing(self, example: Tensor) -> list[Layer]:
        """Every layer that runs on an image batch, in the order in which they return.

        The network runs on the meta device, without computing; if it needs values, or is small, on `example` itself.

        Args:
            example: a batch of images as the network takes them; only its shape and type matter.
        """
        images = len(example)
        return [
            Layer(name, shapes[images], self._axes_or_none(name, shapes), self.aliases_of(name.partition("#")[0]))
            for name, shapes in self.shapes_of_batches(example).items()
        ]

    def shapes(self, example: Tensor) -> dict[str, tuple[int, ...]]:
        """Canonical name (with `#` where a layer runs several times) → shape of the output, as in `listing`."""
        return {layer.name: layer.shape for layer in self.listing(example)}

    def shapes_of_batches(self, example: Tensor) -> dict[str, dict[int, tuple[int, ...]]]:
        """Layers as in `listing` → number of images → shape of the output, for the example and one image more.

        The second is missing if the network does not run it.
        """
        calls = self._calls(example)
        times = Counter(call.rpartition("#")[0] for call in calls)
        named = {call: call.rpartition("#")[0] for call in calls}
        return {call if times[name] > 1 else name: calls[call] for call, name in named.items() if name}

    def largest_output(self, example: Tensor) -> int:
        """The most numbers that any layer gives for an image."""
        largest = 0
        for layer, shapes in self.shapes_of_batches(example).items():
            one, *more = map(prod, shapes.values())
            if more:  # a frozen graph's layers include its weights, which do not grow
                largest = max(largest, more[0] - one)
            elif self._axes_or_none(layer, shapes) is not None:
                largest = max(largest, one // len(example))
        return largest

    def _axes_or_none(self, name: str, shapes: Mapping[int, Shape]) -> Axes | None:
        try:
            return self.axes(name, shapes)
        except InputError:
            return None

    def _calls(self, example: Tensor) -> dict[str, dict[int, tuple[int, ...]]]:
        kind = example.shape, example.dtype
        if kind not in self._known:
            found, module = self._shapes(example, self._without_computing(example))
            try:
                more, _ = self._shapes(torch.cat([example, example[:1]]), module)
            except Exception:  # a network's own code may refuse other numbers of images in any way
                more = {}
            self._known[kind] = {
                call: {len(example): shape} | ({len(example) + 1: more[call]} if call in more else {})
                for call, shape in found.items()
            }
        return self._known[kind]

    def _without_computing(self, example: Tensor) -> nn.Module:
        """The module that tells shapes: a copy without values, unless the network is small and can run on the example."""
        weights = (*self._module.parameters(), *self._module.buffers())
        small = sum(tensor.nbytes for tensor in weights) <= _SMALL and not self._module.training
        return self._module if small and not example.is_meta else _without_values(self._module)

    def _shapes(self, example: Tensor, module: nn.Module) -> tuple[dict[str, tuple[int, ...]], nn.Module]:
        """Shapes of what a module gives for an example, or the network itself where the module cannot, and which it was."""
        if module is not self._module:
            try:
                return _shapes(module, torch.empty_like(example, device="meta")), module
            except RuntimeError:  # an operation that needs values, or tensors that are neither parameters nor buffers
                pass
        return _shapes(self._module, example), self._module


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
