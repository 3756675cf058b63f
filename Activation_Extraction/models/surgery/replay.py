"""Records what the modules of a network return in a run up to a layer, and returns it again in other runs.

A record has the outermost calls that have returned when the layer returns, and the calls still open. In a replay the
former return what they returned, one row for each variant of the layer's output; the latter run; the layer returns the
variants. This happens in a copy of the network with the same parameters and buffers.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from Activation_Extraction.models.trace import parts_of, with_parts

ModuleOverride = Callable[[nn.Module, Callable[[], Any]], Any]
"""From a module and its own forward to what the module returns."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, tuple, list, Mapping)
"""Other types that modules may return; lists and mappings are copied, so nothing in a record can change."""

_override: ContextVar[ModuleOverride | None] = ContextVar("override", default=None)


class UnfitError(Exception):
    """A network whose runs cannot be replayed."""


class EndOfReplay(BaseException):
    """Ends a replay; no `Exception`, so that a network's own error handling does not catch it."""


class Diverged(EndOfReplay):
    """Other modules run than in the record."""


class MissingRead(EndOfReplay):
    """Something reads a tensor that was dropped."""


def copied(network: nn.Module) -> nn.Module:
    """A copy with the same parameters and buffers, for `run_overridden`."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    # Other threads may add and remove hooks, which breaks a loop over them; dict.copy has no such loop.
    attributes = [item for module in network.modules() for item in vars(module).copy().items()]
    hooks = [value for name, value in attributes if name.endswith("_hooks") and isinstance(value, dict)]
    memo |= {id(each): type(each)() for each in hooks}
    made = copy.deepcopy(network, memo)
    for each in hooks:
        memo[id(each)].update(copy.deepcopy(each.copy(), memo))
    if not set(network.modules()).isdisjoint(made.modules()):
        raise UnfitError("one of its modules cannot be copied")
    for module in list(made.modules()):
        _make_overridable(module)
    return made


def _make_overridable(module: nn.Module) -> None:
    forward = module.forward

    @wraps(forward)
    def overridable(*inputs: Any, **named_inputs: Any) -> Any:
        override = _override.get()
        if override is None:
            return forward(*inputs, **named_inputs)
        return override(module, lambda: forward(*inputs, **named_inputs))

    module.forward = overridable
    # An encoder layer of torch has a fast path that skips its submodules unless these have hooks.
    module.register_forward_hook(lambda *_: None)


def run_overridden(made: nn.Module, x: Tensor, override: ModuleOverride) -> Any:
    """The output of a network from `copied`, where `override` decides what each of its modules returns."""
    token = _override.set(override)
    try:
        return made(x)
    finally:
        _override.reset(token)


class RecordedTensor:
    """A tensor as it was when a call returned it.

    Args:
        shared: it is a parameter or a buffer, so it is not copied.
        drops: drop the copy with the original's memory, unless `hold` was called before.
    """

    def __init__(self, tensor: Tensor, *, shared: bool, drops: bool) -> None:
        self.shape, self.dtype, self.device = tensor.shape, tensor.dtype, tensor.device
        values = [tensor if shared else tensor.clone()]
        self._values, self._shared = values, shared
        memory = tensor if tensor._base is None else tensor._base
        self._watch = weakref.ref(memory, lambda _: values.clear()) if drops and not shared else None

    @property
    def value(self) -> Tensor:
        return self._values[0]

    def hold(self) -> None:
        """Keep it from now on, if it was not dropped."""
        self._watch = None  # a deleted weak reference calls nothing

    def rows(self, rows: int, axis: int | None) -> Tensor:
        """One copy for each row, concatenated along an axis; a single copy for axis None."""
        if not self._values:
            shape = [size * (rows if place == axis else 1) for place, size in enumerate(self.shape)]
            return _Missing(shape, self.dtype, self.device)
        if axis is None:
            return self.value if self._shared else self.value.clone()
        return torch.cat([self.value] * rows, axis)


class _Missing(Tensor):
    """The shape of a dropped tensor without values: reading it ends the replay."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> _Missing:
        missing: _Missing = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)
        return missing

    def __init__(self, *_: object) -> None:
        super().__init__()

    @classmethod
    def __torch_dispatch__(cls, function: object, *_: object) -> None:
        raise MissingRead(str(function))


@dataclass(eq=False)
class Step:
    """A call of a module; its output, if it has returned, with a `RecordedTensor` in place of each tensor."""

    module: nn.Module
    returned: bool = False
    output: Any = None

    @property
    def tensors(self) -> list[RecordedTensor]:
        return [leaf for leaf in leaves(self.output) if isinstance(leaf, RecordedTensor)]

    @property
    def others(self) -> list[Any]:
        return [leaf for leaf in leaves(self.output) if not isinstance(leaf, RecordedTensor)]

    def signature(self) -> tuple[object, ...]:
        """Equal for calls of one module whose outputs differ only in the values of tensors."""
        kinds = [(tensor.shape, tensor.dtype, tensor.device) for tensor in self.tensors]
        return self.module, self.returned, kinds, self.others


class Recorder:
    """An override that records the calls of a run up to call `call` (from 1) of `layer`, the last of its `steps`."""

    def __init__(self, layer: nn.Module, call: int, record: Callable[[Tensor], RecordedTensor]) -> None:
        self._layer, self._call, self._record = layer, call, record
        self.steps: list[Step] = []
        self.calls = 0  # of the layer, in the complete run
        self.arrived = False

    def __call__(self, module: nn.Module, forward: Callable[[], Any]) -> Any:
        step, place = Step(module), len(self.steps)
        if not self.arrived:
            self.steps.append(step)
        output = forward()
        self.calls += module is self._layer
        if not self.arrived:
            del self.steps[place + 1 :]
            step.returned, step.output = True, _mapped(self._record, output)
            self.arrived = module is self._layer and self.calls == self._call
            if self.arrived:
                for tensor in (tensor for step in self.steps for tensor in step.tensors):
                    tensor.hold()
        return output


class Replay:
    """An override that returns the recorded outputs, with the variants, of a number of rows, as first tensor of the layer's."""

    def __init__(
        self, steps: Sequence[Step], axes: Sequence[Sequence[int | None]], variants: Tensor, rows: int
    ) -> None:
        self._steps, self._axes, self._variants, self._rows = steps, axes, variants, rows
        self._place = 0

    def __call__(self, module: nn.Module, forward: Callable[[], Any]) -> Any:
        if self._place == len(self._steps):
            return forward()
        step, axes = self._steps[self._place], self._axes[self._place]
        self._place += 1
        if step.module is not module:
            raise Diverged("other modules run before the layer than ran for the image")
        if not step.returned:
            return forward()
        tensors = zip(step.tensors, axes)
        values = []
        if self._place == len(self._steps):
            next(tensors)
            values.append(self._variants.clone())
        values += [tensor.rows(self._rows, axis) for tensor, axis in tensors]
        return _mapped(lambda _: values.pop(0), step.output)

    def check_ended(self) -> None:
        if self._place < len(self._steps):
            raise Diverged("fewer modules run before the layer than ran for the image")


def axes_of(one: Sequence[Step], two: Sequence[Step]) -> list[list[int | None]]:
    """The axis of images in each tensor of each step, from runs with one image and with two.

    Raises:
        UnfitError: not exactly one axis doubles; other outputs depend on the number of images or are not `PLAIN`.
    """
    if [(step.module, step.returned) for step in one] != [(step.module, step.returned) for step in two]:
        raise UnfitError("other modules run before the layer for two images than for one")
    axes = []
    for a, b in zip(one, two):
        name = type(a.module).__name__
        if unknown := [type(other).__name__ for other in a.others if not isinstance(other, PLAIN)]:
            raise UnfitError(f"a {name} returns {unknown[0]}, which might change")
        if a.others != b.others or len(a.tensors) != len(b.tensors):
            raise UnfitError(f"a {name} returns other things than tensors, which depend on the number of images")
        axes.append([axis_of(x.shape, y.shape, 2) for x, y in zip(a.tensors, b.tensors)])
    return axes


def axis_of(one: Sequence[int], more: Sequence[int], times: int) -> int | None:
    """The axis that is `times` as long in the second shape; None if the shapes agree.

    Raises:
        UnfitError: the shapes differ in another way.
    """
    grown = [axis for axis, (a, b) in enumerate(zip(one, more)) if a != b]
    if len(one) != len(more) or len(grown) > 1 or any(more[axis] != times * one[axis] for axis in grown):
        raise UnfitError(f"a tensor {tuple(one)} for one image is {tuple(more)} for {times}")
    return grown[0] if grown else None


def leaves(output: object) -> list[Any]:
    """The innermost parts of an output, in the order of `_mapped`."""
    parts = parts_of(output)
    return [leaf for part in parts.values() for leaf in leaves(part)] if parts else [output]


def _mapped(function: Callable[[Any], Any], output: Any) -> Any:
    """A copy of an output with the function applied to each Tensor or `RecordedTensor`."""
    if isinstance(output, Tensor | RecordedTensor):
        return function(output)
    parts = {key: _mapped(function, part) for key, part in parts_of(output).items()}
    return with_parts(output, parts) if parts or isinstance(output, list | dict) else output
