"""The part of a network after one layer, run for many variants of the layer's output on one image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, first_line, shown
from Activation_Extraction.models.axes import Axes
from Activation_Extraction.models.surgery.replay import (
    Diverged,
    EndOfReplay,
    MissingRead,
    RecordedTensor,
    Recorder,
    Replay,
    Step,
    UnfitError,
    axes_of,
    axis_of,
    copied,
    leaves,
    run_overridden,
)
from Activation_Extraction.models.trace import split_call, trace, unknown_layer

TOLERANCE = 1e-4
"""Allowed error of the suffix, relative to the norm of an output; larger for types of lower precision."""

IMAGES_FIRST = Axes(0, 1)


class Suffix:
    """The part of a network after one layer.

        suffix = Suffix(network, "layer4.5")
        a, output = suffix.record(x)            # x (1, 3, H, W), a (1, C, h, w): the network runs to its end
        outputs = suffix(variants)              # (V, C, h, w) to (V, …): only what follows the layer runs

    On the first image, and whenever the calls or shapes of a run differ from those before, the suffix is compared
    with the full network. If they disagree, or the suffix cannot run, the full network runs each time, and
    `full_run_reason` says why.

    The suffix works on a copy that shares parameters and buffers; hooks are those at the time it was made. Other
    threads may use the network meanwhile, and edits of a surrounding `trace` do not reach the suffix.

    Args:
        network: its output for an image must not depend on the rest of the batch.
        layer: path of a submodule; `relu#2` for its second call.
        axes: of the layer's output; the suffix takes and gives the images first, whatever their axis in the network.

    Raises:
        InputError: an unknown layer (the nearest names are given).
    """

    def __init__(self, network: nn.Module, layer: str, axes: Axes = IMAGES_FIRST) -> None:
        modules = dict(network.named_modules(remove_duplicate=False))
        name, call = split_call(layer, modules)
        if name not in modules:
            raise InputError([unknown_layer(layer, [known for known in modules if known])])
        self._layer, self._axes = layer, axes
        self._full = _FullNetwork(network, layer, axes)
        self._replaying: _ReplayingCopy | None = None
        self._like: Tensor | None = None
        self.full_run_reason: str | None = None
        try:
            self._replaying = _ReplayingCopy(network, name, call, axes)
        except Exception as error:  # a network's own code may raise anything
            self.full_run_reason = f"it cannot be copied ({_reason(error)})"

    def record(self, x: Tensor) -> tuple[Tensor, Any]:
        """Run the network on one image and store what the suffix needs, instead of what it stored before.

        Args:
            x: `(1, …)`, as the network takes it.

        Returns:
            A copy of the layer's output `(1, …)` (its first tensor) and the network's output, both without gradients.

        Raises:
            InputError: not one image; a layer that does not run, runs several times (its calls are listed), or gives
                no tensor or not one row for an image; a network whose output for an image changes in a second run, or
                with the rest of the batch.
        """
        if x.ndim == 0 or len(x) != 1:
            raise InputError(f"input of shape {tuple(x.shape)}; expected one image, (1, …)")
        self._like, because = None, self.full_run_reason
        # In inference mode torch does not count in-place changes.
        with torch.inference_mode(False), torch.no_grad():
            x = x.detach().clone()
            if self._replaying is not None:
                try:
                    return self._checked(self._replaying, x)
                except InputError:
                    raise
                except (Exception, EndOfReplay) as error:  # a network's own code may raise anything
                    because = _reason(error)
            try:
                recorded = self._checked(self._full, x)
            except UnfitError as error:
                raise InputError(
                    f"layer {shown(self._layer)}: {error}; expected a network that gives the same for an image each "
                    "time, whatever the rest of the batch"
                ) from None
        self._always_run_full(because)  # only now: the image may have caused the error
        return recorded

    def __call__(self, a: Tensor) -> Any:
        """The network's output for V variants of the layer's output on the last recorded image, with gradients.

        Args:
            a: `(V, …)` where `record` gave `(1, …)`, of the same type and device; V is at least 1.

        Raises:
            InputError: variants of another shape, type or device; no image was recorded.
        """
        if self._like is None:
            raise InputError(f"suffix of layer {shown(self._layer)}: no image yet; expected `record` to come first")
        like = self._like
        if a.ndim == 0 or len(a) == 0 or (a.shape[1:], a.dtype, a.device) != (like.shape[1:], like.dtype, like.device):
            wanted = ", ".join(["V", *map(str, like.shape[1:])])
            raise InputError(
                f"variants of layer {shown(self._layer)}: a tensor {tuple(a.shape)} of {a.dtype} on {a.device}; "
                f"expected ({wanted}) of {like.dtype} on {like.device}"
            )
        if self._replaying is not None:
            try:
                return self._replaying.run(a)
            except Diverged as error:
                self._always_run_full(_reason(error))
        return self._full.run(a)

    def _checked(self, way: _ReplayingCopy | _FullNetwork, x: Tensor) -> tuple[Tensor, Any]:
        self._full.x = x
        a, output = way.record(x)
        if a.ndim <= self._axes.images or a.shape[self._axes.images] != 1:
            raise InputError(f"layer {shown(self._layer)}: gives {tuple(a.shape)} for one image; expected (1, …)")
        a = self._axes.images_first(a)
        if way.checked_signature != way.signature:
            changed = a.clone(memory_format=torch.contiguous_format)
            changed.view(-1)[::2] = 0
            # Three rows: the network may still have state from recording one or two.
            together = way.run(torch.cat([a, changed, a]))
            alone = [output, self._full.run(changed), output]
            check_rows(together, alone, tolerance(self._full.network, a, output))
            way.checked_signature = way.signature
        self._like = a.new_empty((0, *a.shape[1:]))
        return a, output

    def _always_run_full(self, because: str | None) -> None:
        self.full_run_reason, self._replaying = because, None


class _FullNetwork:
    """Runs what follows a layer with the full network."""

    def __init__(self, network: nn.Module, layer: str, axes: Axes) -> None:
        self.network, self._layer, self._axes = network, layer, axes
        self.x = torch.empty(0)  # the image
        self.signature: object = "all images run alike"
        self.checked_signature: object = None

    def record(self, x: Tensor) -> tuple[Tensor, Any]:
        outputs = []

        def seen(a: Tensor) -> Tensor:
            outputs.append(a)
            return a

        with trace(self.network, edit={self._layer: seen}):
            output = self.network(x.clone())
        _check_calls(self._layer, len(outputs))
        return outputs[0], output

    def run(self, a: Tensor) -> Any:
        images, wanted = len(a), self._axes.as_given(a)

        def variants(given: Tensor) -> Tensor:
            if given.shape != wanted.shape:
                what = f"gives {tuple(given.shape)} for {images} images"
                raise InputError(f"layer {shown(self._layer)}: {what}; expected a row for each")
            return wanted

        with trace(self.network, edit={self._layer: variants}):
            return self.network(torch.cat([self.x] * images))


class _ReplayingCopy:
    """Runs what follows a layer with a copy of the network that replays what came before."""

    def __init__(self, network: nn.Module, name: str, call: int | None, layout: Axes) -> None:
        self._copy = copied(network)
        self._module = dict(self._copy.named_modules(remove_duplicate=False))[name]
        self._name, self._call, self._layout = name, call, layout
        self._shared = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self._drops = True
        self._x = torch.empty(0)
        self._steps: list[Step] = []
        self._axes: list[list[int | None]] = []
        self.signature: object = None  # the calls up to the layer, with the shapes and types of their outputs
        self.checked_signature: object = None

    def record(self, x: Tensor) -> tuple[Tensor, Any]:
        self._steps = []  # frees those of the last image first
        self._x = x
        self._steps, output = self._recorded(x)
        signature = [step.signature() for step in self._steps]
        if signature != self.signature:
            self._axes = axes_of(self._steps, self._recorded(torch.cat([x, x]))[0])
            self.signature = signature
        return self._steps[-1].tensors[0].value.clone(), output

    def run(self, a: Tensor) -> Any:
        try:
            return self._replayed(a)
        except MissingRead:
            # Functions between modules run again and read a tensor that was freed before the layer returned.
            self._drops = False
            self.record(self._x)
            return self._replayed(a)

    def _replayed(self, a: Tensor) -> Any:
        replay = Replay(self._steps, self._axes, self._layout.as_given(a), len(a))
        output = run_overridden(self._copy, torch.cat([self._x] * len(a)), replay)
        replay.check_ended()
        return output

    def _recorded(self, x: Tensor) -> tuple[list[Step], Any]:
        def record(tensor: Tensor) -> RecordedTensor:
            return RecordedTensor(tensor, shared=id(tensor) in self._shared, drops=self._drops)

        recorder = Recorder(self._module, self._call or 1, record)
        with torch.inference_mode(False), torch.no_grad():
            output = run_overridden(self._copy, x.clone(), recorder)
        if not (recorder.arrived and recorder.steps[-1].tensors):
            raise UnfitError("in a copy of the network the layer gives nothing")
        if self._call is None:
            _check_calls(self._name, recorder.calls)
        return recorder.steps, output


def tolerance(network: nn.Module, *outputs: object) -> float:
    """`TOLERANCE`, or eight steps of the coarsest numbers in use."""
    tensors = [leaf for output in outputs for leaf in leaves(output) if isinstance(leaf, Tensor)]
    kinds = {tensor.dtype for tensor in (*tensors, *network.parameters(), *network.buffers())}
    for device in {tensor.device.type for tensor in tensors}:
        if torch.is_autocast_enabled(device):
            kinds.add(torch.get_autocast_dtype(device))
    return max([TOLERANCE, *(8 * torch.finfo(kind).eps for kind in kinds if kind.is_floating_point)])


def check_rows(together: object, alone: list[Any], limit: float) -> None:
    """Compare a network's output for a batch with its outputs for each row.

    Raises:
        UnfitError: they differ by more than `limit` times the norm; the output has no tensor.
    """
    tensors, *others = ([leaf for leaf in leaves(x) if isinstance(leaf, Tensor)] for x in (together, *alone))
    if not tensors or {len(tensors)} != {len(other) for other in others}:
        raise UnfitError("the output has no tensors, or others when it runs again")
    for all_rows, *rows in zip(tensors, *others):
        axis = axis_of(rows[0].shape, all_rows.shape, len(rows))
        found = [all_rows] * len(rows) if axis is None else all_rows.chunk(len(rows), axis)
        for one, wanted in zip(found, rows):
            if not (off := relative_distance(one, wanted)) <= limit:
                raise UnfitError(f"the output for several variants at once is not that for each (off by {off:.2g})")


def relative_distance(found: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over that of `wanted`; values that are not finite must be identical."""
    if found.shape != wanted.shape:
        return float("inf")
    exact = torch.promote_types(wanted.dtype, torch.float64)
    found, wanted = found.to("cpu", exact), wanted.to("cpu", exact)
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    off = torch.where(same, 0, found - wanted).norm()
    return float(off / torch.where(wanted.isfinite(), wanted, 0).norm()) if off != 0 else 0.0


def _check_calls(layer: str, calls: int) -> None:
    if calls > 1:
        names = [f"{layer}#{call}" for call in range(1, calls + 1)]
        listed = ", ".join(names if calls < 5 else [*names[:2], "…", names[-1]])
        raise InputError(f"layer {shown(layer)}: runs {calls} times; expected one of {listed}")


def _reason(error: BaseException) -> str:
    own = isinstance(error, UnfitError | EndOfReplay)
    return str(error) if own else f"{type(error).__name__}: {first_line(error)}"
