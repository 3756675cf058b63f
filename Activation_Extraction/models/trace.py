"""The one way to touch a layer: keep its output, edit it, and end the run once everything asked for was seen.

Layers are the submodules of a network, by their path (`layer4.5`). All is done with forward hooks, which are gone when
the block is left, whatever ended it. They act on what the block itself runs: a network may be shared by threads and by
asyncio tasks that trace it at the same time.
"""

from __future__ import annotations

import copy
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, overload

from torch import Tensor, nn

from Activation_Extraction.base.errors import InputError, shown

T = TypeVar("T")
Edit = Callable[[Tensor], Tensor]
Reduction = Callable[[Tensor], T]
EVERY = "*"
"""Stands for every call of every layer, kept as `name#1`, `name#2` … in the order in which they return."""

RUNS_ONCE = "runs_once"
"""A module without parameters that sets this true never runs twice in a forward, so a run may end after it."""


class Retained(dict[str, T], Generic[T]):
    """What was kept, by the names that were asked for; holds what the last run gave."""

    def __init__(self, traced: _Trace) -> None:
        super().__init__()
        self._traced = traced

    def run(self, *inputs: Any, **named_inputs: Any) -> None:
        """Call the network, and end the run as soon as all layers that were named have been seen.

        What is kept is the same as after calling the network itself, with one exception: of a layer that has
        parameters and runs several times, a name without `#` gives the first call here. Runs go to their end while
        another `trace` is open, which may want to see more.
        """
        self._traced.run(*inputs, **named_inputs)

    def __missing__(self, name: str) -> T:
        raise InputError(self._traced.problem(name))

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (dict(self),)  # saved without the network, in a form that loads with weights_only


@overload
def trace(
    module: nn.Module, retain: str | Iterable[str] = (), *, edit: Mapping[str, Edit] | None = None, reduce: None = None
) -> AbstractContextManager[Retained[Tensor]]: ...
@overload
def trace(
    module: nn.Module,
    retain: str | Iterable[str] = (),
    *,
    edit: Mapping[str, Edit] | None = None,
    reduce: Reduction[T] | Mapping[str, Reduction[T]],
) -> AbstractContextManager[Retained[T]]: ...
@contextmanager
def trace(
    module: nn.Module,
    retain: str | Iterable[str] = (),
    *,
    edit: Mapping[str, Edit] | None = None,
    reduce: Reduction[Any] | Mapping[str, Reduction[Any]] | None = None,
) -> Iterator[Retained[Any]]:
    """Keep or edit the outputs of layers while the network runs inside the block.

        with trace(network, ["layer3.9", "layer4.5"]) as retained:
            retained.run(x)                 # ends after layer4.5; network(x) would go to the end
        retained["layer4.5"]                # a tensor of its own

    Args:
        module: the network.
        retain: names of the layers to keep. What is kept is what the rest of the network sees, so after any edit, and
            is a copy that no later operation changes. With gradients it lies on the way to the network's output:
            `retain_grad()` and `torch.autograd.grad` work on it, inside the block and after it.
        edit: layer → function from its output to the tensor, of the same shape, type and device, that the rest of the
            network is to see instead. It gets a copy, which it may change in place. Edits take place in the order in
            which the layers run. The identity leaves the network's output as it is, bit for bit.
        reduce: function applied at once to each output kept (such as a spatial mean), so that only its result stays;
            or one for each name that is retained.

    A layer that runs several times in a run is addressed as `name#1`, `name#2` …; without a number, the last call is
    kept and every call is edited. `EVERY` keeps all calls of all layers. When a layer returns a tuple, list, mapping or
    dataclass, the first tensor in it is meant. Calls are counted from the last start of `module`.

    Of nested blocks, all edits come before all that is kept, those of the inner block first. A generator that yields
    inside a block leaves the block open: what its caller runs meanwhile is seen too.

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
    """One line that says that there is no such layer, and which names come nearest."""
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    near = [folded[match] for match in get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
    hint = f"; nearest: {', '.join(near)}" if near else f"; expected one such as {', '.join(known[:3])}"
    return f"no layer {shown(name)} among {len(known)}{hint}"


def split_call(text: str, layers: Container[str]) -> tuple[str, int | None]:
    """A layer's name and which of its calls is meant, where the text says so: `relu#2` is the second."""
    name, _, number = text.rpartition("#")
    # Anything but a count from 1 leaves an unknown name.
    if text in layers or not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        return text, None
    return name, int(number)


_open: ContextVar[tuple[_Trace, ...]] = ContextVar("open traces", default=())


class _Stop(BaseException):
    """Ends a run; no `Exception`, so that a network's own error handling lets it pass."""


@dataclass(frozen=True)
class _Address:
    """One call of a layer, or (`call` None) a layer whatever its call, to be kept or edited."""

    text: str
    name: str
    call: int | None
    purpose: str

    def meets(self, call: int) -> bool:
        return self.call is None or self.call == call


class _Trace:
    def __init__(
        self,
        root: nn.Module,
        retain: list[str],
        edit: Mapping[str, Edit],
        reduce: Reduction[Any] | Mapping[str, Reduction[Any]] | None,
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
        self._kept_at = self._by_module(kept)
        self._edited_at = self._by_module(self._edits)
        self._ending_at: dict[nn.Module, list[_Address]] = {}
        for address in kept:
            self._ending_at.setdefault(self._end_of(address), []).append(address)
        self._unreached = set(self._addresses)
        self._waiting: set[_Address] = set()
        self._calls: Counter[tuple[str, nn.Module]] = Counter()
        self._stoppable = False
        self.retained: Retained[Any] = Retained(self)
        self._begin()

    def enter(self, stack: ExitStack) -> None:
        """Place the hooks; leaving `stack` removes them."""
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
        """Why nothing is held for a name."""
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

    def _by_module(self, addresses: Iterable[_Address]) -> dict[nn.Module, list[_Address]]:
        placed: dict[nn.Module, list[_Address]] = {}
        for address in addresses:
            placed.setdefault(self._modules[address.name], []).append(address)
        return placed

    def _end_of(self, address: _Address) -> nn.Module:
        """The module after whose return an address can get nothing more.

        A module without parameters, such as a ReLU, may well serve several times in its parent's forward.
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
        return self  # a network copied inside the block carries the hooks along, and they do nothing there

    def _on_start(self, module: nn.Module, inputs: Any) -> None:
        if self._acts_on(module):
            self._begin()

    def _on_edit(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self._acts_on(module):
            return None
        self._calls["edit", module] += 1
        call = self._calls["edit", module]
        changed = output
        for address in self._edited_at[module]:
            if address.meets(call):
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
        addresses = [address for address in self._kept_at.get(module, ()) if address.meets(call)]
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
                # The network goes on from the tensor that is handed out, so that gradients pass through it.
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
    after: object = function(given)
    wanted = _signature(before)
    if not isinstance(after, Tensor) or _signature(after) != wanted:
        got = _signature(after) if isinstance(after, Tensor) else type(after).__name__
        raise InputError(f"edit of layer {shown(name)}: gave {got}; expected {wanted}")
    if after is given and not (after.requires_grad or before.requires_grad or before.is_meta) and after.equal(before):
        return output
    # The function may hold on to what it gave, and a later in-place operation would change it.
    return _replaced(output, path, after.clone())


def _signature(x: Tensor) -> str:
    return f"a tensor {tuple(x.shape)} of {x.dtype} on {x.device}"


def _no_tensor(name: str, output: object) -> str:
    return f"layer {shown(name)}: returned {type(output).__name__} without a tensor in it; expected a tensor"


def _first_tensor(output: object) -> tuple[list[Any], Tensor] | None:
    """The first tensor of an output and the keys that lead to it."""
    if isinstance(output, Tensor):
        return [], output
    for key, part in parts_of(output).items():
        if (found := _first_tensor(part)) is not None:
            return [key, *found[0]], found[1]
    return None


def parts_of(output: object) -> dict[Any, Any]:
    """What a mapping, a tuple, a list or a dataclass holds; nothing for anything else."""
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if is_dataclass(output):
        return {field.name: getattr(output, field.name, None) for field in fields(output)}
    return {}


def with_parts(output: Any, parts: Mapping[Any, Any]) -> Any:
    """A copy of a mapping, tuple, list or dataclass with other parts under some of its keys."""
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
    """A copy of an output with another tensor at the place that `path` leads to."""
    if not path:
        return tensor
    key, *rest = path
    return with_parts(output, {key: _replaced(parts_of(output)[key], rest, tensor)})
