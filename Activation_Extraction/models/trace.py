"""The one way to access a layer: keep its output, edit it, and end the run as soon as all requested layers ran.

Layers are the submodules of a network, by their path (`layer4.5`). Forward hooks do the work and are removed at the
end of the block, even after an error. They act only on what the block itself runs, so threads and asyncio tasks may
trace one network at the same time.
"""

from __future__ import annotations

import copy
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown

Edit = Callable[[Tensor], Tensor]
Reduction = Callable[[Tensor], Any]
EVERY = "*"
"""Every call of every layer, kept as `name#1`, `name#2` … in the order in which they return."""

RUNS_ONCE = "runs_once"
"""A module without parameters that sets this true runs once in a forward pass, so a run may end after it."""


class Retained(dict[str, Any]):
    """Requested name → kept output (a Tensor, or what `reduce` made of it) of the last run."""

    def __init__(self, traced: _Trace) -> None:
        super().__init__()
        self._traced = traced

    def run(self, *inputs: Any, **named_inputs: Any) -> None:
        """Call the network, and end the run as soon as all requested layers have run.

        This keeps the same outputs as calling the network itself, with one exception: of a layer that has parameters
        and runs several times, a name without `#` gives the first call here. While another `trace` is open, the
        network runs to its end.
        """
        self._traced.run(*inputs, **named_inputs)

    def __missing__(self, name: str) -> Any:
        raise InputError(self._traced.problem(name))

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (dict(self),)  # saved without the network, in a form that loads with weights_only


@contextmanager
def trace(
    module: nn.Module,
    retain: str | Iterable[str] = (),
    *,
    edit: Mapping[str, Edit] | None = None,
    reduce: Reduction | Mapping[str, Reduction] | None = None,
) -> Iterator[Retained]:
    """Keep or edit the outputs of layers while the network runs inside the block.

        with trace(network, ["layer3.9", "layer4.5"]) as retained:
            retained.run(x)                 # ends after layer4.5; network(x) would run to the end
        retained["layer4.5"]                # a copy

    Args:
        module: the network.
        retain: names of the layers to keep. A kept output is a copy of what the rest of the network gets, after any
            edit. With gradients it lies on the path to the network's output: `retain_grad()` and
            `torch.autograd.grad` work on it, inside the block and after it.
        edit: layer → function from its output to the tensor, of the same shape, type and device, that replaces it.
            The function gets a copy, which it may change in place. Edits run in the order of the layers. The identity
            leaves the network's output unchanged, bit for bit.
        reduce: function applied at once to each kept output (such as a spatial mean), so that only its result is
            stored; or one for each retained name.

    A layer that runs several times in a run is addressed as `name#1`, `name#2` …; without a number, the last call is
    kept and every call is edited. `EVERY` keeps all calls of all layers. Of a tuple, list, mapping or dataclass, the
    first tensor counts. Calls are counted from the last start of `module`.

    In nested blocks all edits come first, those of the inner block before those of the outer. A generator that yields
    inside a block leaves the block open: it traces what the caller runs meanwhile, too.

    Raises:
        InputError: an unknown layer (the nearest names are given); an edit that gives another shape; a layer without a
            tensor in its output; at the end of the block, a layer that was never reached.
    """
    traced = _Trace(module, [retain] if isinstance(retain, str) else list(retain), edit or {}, reduce)
    with ExitStack() as stack:
        traced.enter(stack)
        yield traced.retained
        traced.check_reached()


def unknown_layer(name: str, known: Iterable[str]) -> str:
    """The message for a layer that does not exist, with the nearest names."""
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    near = [folded[match] for match in get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
    hint = f"; nearest: {', '.join(near)}" if near else f"; expected one such as {', '.join(known[:3])}"
    return f"no layer {shown(name)} among {len(known)}{hint}"


def split_call(text: str, layers: Container[str]) -> tuple[str, int | None]:
    """A layer's name and the number of the call, if given: `relu#2` is the second call."""
    name, _, number = text.rpartition("#")
    if text in layers or not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        return text, None
    return name, int(number)


_open: ContextVar[tuple[_Trace, ...]] = ContextVar("open traces", default=())


class _Stop(BaseException):
    """Ends a run; no `Exception`, so that a network's own error handling lets it pass."""


@dataclass(frozen=True)
class _Address:
    """One call of a layer, or (`call` None) all its calls, to keep or edit."""

    text: str
    name: str
    call: int | None
    purpose: str

    def includes(self, call: int) -> bool:
        return self.call is None or self.call == call


def _grouped(addresses: Iterable[_Address], at: Callable[[_Address], nn.Module]) -> dict[nn.Module, list[_Address]]:
    groups: dict[nn.Module, list[_Address]] = {}
    for address in addresses:
        groups.setdefault(at(address), []).append(address)
    return groups


class _Trace:
    def __init__(
        self,
        root: nn.Module,
        retain: list[str],
        edit: Mapping[str, Edit],
        reduce: Reduction | Mapping[str, Reduction] | None,
    ) -> None:
        self._root = root
        self._modules: dict[str, nn.Module] = dict(root.named_modules(remove_duplicate=False))
        self._every = EVERY in retain
        names = [*retain, *edit]
        if unknown := [name for name in names if name != EVERY and self._split(name)[0] not in self._modules]:
            layers = [name for name in self._modules if name]
            raise InputError([unknown_layer(name, layers) for name in dict.fromkeys(unknown)])
        kept = [_Address(text, *self._split(text), "keep") for text in dict.fromkeys(retain) if text != EVERY]
        self._edits = {_Address(text, *self._split(text), "edit"): function for text, function in edit.items()}
        self._addresses = [*kept, *self._edits]
        self._reduce = reduce
        self._names = {module: name for name, module in reversed(self._modules.items())}
        self._kept_at = _grouped(kept, lambda address: self._modules[address.name])
        self._edited_at = _grouped(self._edits, lambda address: self._modules[address.name])
        self._ending_at = _grouped(kept, self._end_of)
        self._unreached = set(self._addresses)
        self._waiting: set[_Address] = set()
        self._calls: Counter[tuple[str, nn.Module]] = Counter()
        self._stoppable = False
        self.retained = Retained(self)
        self._begin()

    def enter(self, stack: ExitStack) -> None:
        """Register the hooks; leaving `stack` removes them."""
        stack.callback(lambda: _open.set(tuple(other for other in _open.get() if other is not self)))
        _open.set((*_open.get(), self))
        stack.callback(self._root.register_forward_pre_hook(self._on_start).remove)
        for module in self._edited_at:
            stack.callback(module.register_forward_hook(self._on_edit, prepend=True).remove)
        for module in self._names if self._every else {**self._kept_at, **self._ending_at, **self._edited_at}:
            stack.callback(module.register_forward_hook(self._on_keep).remove)

    def run(self, *inputs: Any, **named_inputs: Any) -> None:
        self._stoppable = not self._every
        try:
            self._root(*inputs, **named_inputs)
        except _Stop as stop:
            if stop.args != (self,):
                raise
        finally:
            self._stoppable = False

    def check_reached(self) -> None:
        if missed := dict.fromkeys(address.text for address in self._addresses if address in self._unreached):
            raise InputError([self.problem(text) for text in missed])

    def problem(self, text: str) -> str:
        """Why there is no output for a name."""
        if text not in {address.text for address in self._addresses}:
            kept = ", ".join(list(self.retained)[:3]) + ("…" if len(self.retained) > 3 else "")
            return f"nothing is kept under {shown(text)}; kept: {kept or 'nothing'}"
        calls = max(self._calls[kind, self._modules[self._split(text)[0]]] for kind in ("edit", "keep"))
        ran = f"it ran {calls} time{'s' * (calls > 1)}" if calls else "it did not run, or in another thread"
        return f"layer {shown(text)} was not reached in the traced block: {ran}"

    def _split(self, text: str) -> tuple[str, int | None]:
        return split_call(text, self._modules)

    def _reduced(self, texts: list[str], kept: Tensor) -> dict[str, Any]:
        if isinstance(self._reduce, Mapping):
            return {text: self._reduce[text](kept) for text in texts}
        return dict.fromkeys(texts, kept if self._reduce is None else self._reduce(kept))

    def _end_of(self, address: _Address) -> nn.Module:
        """The module after whose return an address gets nothing more.

        A module without parameters, such as a ReLU, may run several times in its parent's forward.
        """
        module = self._modules[address.name]
        if address.call is not None or getattr(module, RUNS_ONCE, False) or next(module.parameters(), None) is not None:
            return module
        if list(self._modules.values()).count(module) > 1:
            return self._root
        return self._modules[address.name.rpartition(".")[0]]

    def _begin(self) -> None:
        self._calls.clear()
        self.retained.clear()
        self._waiting = set(self._addresses)

    def _acts_on(self, module: nn.Module) -> bool:
        return self in _open.get() and module in self._names

    def __deepcopy__(self, memo: object) -> _Trace:
        return self  # hooks in copies of the network made inside the block do nothing

    def _on_start(self, module: nn.Module, inputs: Any) -> None:
        if self._acts_on(module):
            self._begin()

    def _on_edit(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self._acts_on(module):
            return None
        self._calls["edit", module] += 1
        changed = output
        for address in self._edited_at[module]:
            if address.includes(self._calls["edit", module]):
                self._unreached.discard(address)
                self._waiting.discard(address)
                changed = _edited(changed, address.text, self._edits[address])
        return None if changed is output else changed

    def _on_keep(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self._acts_on(module):
            return None
        self._calls["keep", module] += 1
        call = self._calls["keep", module]
        onward = None
        addresses = [address for address in self._kept_at.get(module, ()) if address.includes(call)]
        texts = [address.text for address in addresses]
        found = _first_tensor(output) if texts or self._every else None
        if self._every and found is not None:
            texts.append(f"{self._names[module]}#{call}")
        if texts:
            if found is None:
                raise InputError(_no_tensor(texts[0], output))
            path, tensor = found
            kept = tensor.clone()
            self.retained.update(self._reduced(texts, kept))
            self._unreached.difference_update(addresses)
            if kept.requires_grad and self._reduce is None:
                # The network continues from the kept tensor, so that gradients pass through it.
                onward = _replaced(output, path, kept.clone())
        self._waiting -= {address for address in self._ending_at.get(module, ()) if address.text in self.retained}
        if self._stoppable and not self._waiting and _open.get() == (self,):
            raise _Stop(self)
        return onward


def _edited(output: Any, name: str, function: Edit) -> Any:
    found = _first_tensor(output)
    if found is None:
        raise InputError(_no_tensor(name, output))
    path, before = found
    given = before.clone()
    after: Any = function(given)
    if (got := _signature(after)) != (wanted := _signature(before)):
        raise InputError(f"edit of layer {shown(name)}: gave {got}; expected {wanted}")
    if after is given and not (after.requires_grad or before.requires_grad or before.is_meta) and after.equal(before):
        return output
    # The function may keep what it returned, and a later in-place operation would change it.
    return _replaced(output, path, after.clone())


def _signature(x: object) -> str:
    if not isinstance(x, Tensor):
        return type(x).__name__
    return f"a tensor {tuple(x.shape)} of {x.dtype} on {x.device}"


def _no_tensor(name: str, output: object) -> str:
    return f"layer {shown(name)}: returned {type(output).__name__} without a tensor in it; expected a tensor"


def _first_tensor(output: object) -> tuple[list[Any], Tensor] | None:
    """The first tensor of an output, after the keys that lead to it."""
    if isinstance(output, Tensor):
        return [], output
    for key, part in parts_of(output).items():
        if (found := _first_tensor(part)) is not None:
            return [key, *found[0]], found[1]
    return None


def parts_of(output: object) -> dict[Any, Any]:
    """Key → part of a mapping, tuple, list or dataclass; empty for anything else."""
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if is_dataclass(output):
        return {field.name: getattr(output, field.name, None) for field in fields(output)}
    return {}


def with_parts(output: Any, parts: Mapping[Any, Any]) -> Any:
    """A copy of a mapping, tuple, list or dataclass with some parts replaced."""
    if isinstance(output, tuple | list):
        items = [parts.get(key, part) for key, part in enumerate(output)]
        return output._make(items) if hasattr(output, "_make") else type(output)(items)
    changed = copy.copy(output)
    for key, part in parts.items():
        if isinstance(output, Mapping):
            changed[key] = part
        else:
            object.__setattr__(changed, key, part)  # a frozen dataclass, too
    return changed


def _replaced(output: Any, path: list[Any], tensor: Tensor) -> Any:
    """A copy of an output with the tensor at `path` replaced."""
    if not path:
        return tensor
    key, *rest = path
    return with_parts(output, {key: _replaced(parts_of(output)[key], rest, tensor)})
