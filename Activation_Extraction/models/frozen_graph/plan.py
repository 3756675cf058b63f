"""The structure of a graph: what refers to what, in which order nodes run, where images go in and what comes out."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.models.frozen_graph.attributes import Attributes
from Activation_Extraction.models.frozen_graph.graph_def import Constant, Node

NEVER_THE_OUTPUT = ("NoOp", "Assert", "Placeholder")

MAX_PROBLEMS = 20
"""How many problems of one kind are listed; the rest are counted."""


class Reference(NamedTuple):
    """One output of a node."""

    name: str
    output: int

    def __str__(self) -> str:
        return f"{self.name}:{self.output}" if self.output else self.name


class Plan:
    """What is to be run, in which order, once the structure of the graph has been checked.

    Args:
        nodes: of the file, by name.
        source: names the file in messages.
        input_name, output_name: as `load_frozen_graph` takes them.

    Attributes:
        references: the inputs of every node, without those that only set an order.
        order: the nodes that the output needs, each after its inputs.
        input_name: the placeholder.
        output: what the graph returns.
    """

    def __init__(self, nodes: Mapping[str, Node], source: str, input_name: str | None, output_name: str | None) -> None:
        self.nodes, self.source = nodes, source
        placeholders = [name for name, node in nodes.items() if node.operation == "Placeholder"]
        if input_name is not None and input_name not in placeholders:
            raise InputError([self._no_such("placeholder", input_name, placeholders)])
        self.references = self._all_references()
        order = self._sorted()
        self.output = self._chosen_output(order, [input_name] if input_name else placeholders, output_name)
        needed = self._needed(self.output.name)
        self.order = [name for name in order if name in needed]
        self.input_name = self._chosen_input([name for name in placeholders if name in needed], input_name)

    def without_identities(self, reference: Reference) -> Reference:
        """Where a value comes from, past the operations that only hand it on."""
        while self.nodes[reference.name].operation == "Identity" and self.references[reference.name]:
            reference = self.references[reference.name][0]
        return reference

    def constant(self, reference: Reference) -> Constant | None:
        """What a reference gives, if that is a constant of numbers."""
        node = self.nodes[self.without_identities(reference).name]
        return Attributes(node, self.source).tensor("value") if node.operation == "Const" else None

    def _all_references(self) -> dict[str, list[Reference]]:
        references: dict[str, list[Reference]] = {}
        problems = []
        for node in self.nodes.values():
            found = {text: _reference(text.removeprefix("^")) for text in node.inputs}
            problems += [
                Problem(
                    self.source,
                    f"node {shown(node.name, 120)} takes {shown(text, 120)}, which is not there",
                    "a whole graph",
                )
                for text, reference in found.items()
                if reference is None or reference.name not in self.nodes
            ]
            references[node.name] = [
                reference for text in node.inputs if not text.startswith("^") and (reference := found[text])
            ]
        if problems:
            raise InputError(first_of(problems))
        return references

    def _sorted(self) -> list[str]:
        """The file's order wherever that gives every node its inputs before it."""
        names = list(self.nodes)
        place = {name: k for k, name in enumerate(names)}
        consumers: dict[str, list[str]] = {name: [] for name in names}
        waiting = {}
        for name, inputs in self.references.items():
            distinct = {reference.name for reference in inputs}
            waiting[name] = len(distinct)
            for producer in distinct:
                consumers[producer].append(name)
        ready = [place[name] for name in names if not waiting[name]]
        order = []
        while ready:
            name = names[heapq.heappop(ready)]
            order.append(name)
            for consumer in consumers[name]:
                waiting[consumer] -= 1
                if not waiting[consumer]:
                    heapq.heappush(ready, place[consumer])
        if len(order) < len(names):
            raise InputError([self._cycle({name for name in names if waiting[name]})])
        return order

    def _cycle(self, stuck: set[str]) -> Problem:
        """Every stuck node has a stuck input, so walking against the arrows comes round."""
        name, path, seen = min(stuck), [min(stuck)], set()
        while name not in seen:
            seen.add(name)
            name = next(reference.name for reference in self.references[name] if reference.name in stuck)
            path.append(name)
        circle = path[path.index(path[-1]) :][::-1]
        shown_circle = " → ".join(circle if len(circle) < 6 else [*circle[:3], "…", circle[-1]])
        return Problem(self.source, f"the nodes form a cycle: {shown_circle}", "a graph that runs from input to output")

    def _needed(self, output: str) -> set[str]:
        needed, todo = set(), [output]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += [reference.name for reference in self.references[name]]
        return needed

    def _chosen_output(self, order: list[str], inputs: Collection[str], output_name: str | None) -> Reference:
        if output_name is not None:
            reference = _reference(output_name)
            if reference is None or reference.name not in self.nodes:
                raise InputError([self._no_such("output", output_name, self.nodes)])
            return reference
        reached = set(inputs)
        for name in order:
            if any(reference.name in reached for reference in self.references[name]):
                reached.add(name)
        consumed = {reference.name for inputs in self.references.values() for reference in inputs}
        for name in reversed(list(self.nodes)):
            if name in reached - consumed and self.nodes[name].operation not in NEVER_THE_OUTPUT:
                return Reference(name, 0)
        raise InputError([Problem(self.source, "no node depends on a placeholder", "one that takes the images")])

    def _chosen_input(self, needed: list[str], input_name: str | None) -> str:
        if input_name is None and len(needed) > 1:
            raise InputError(
                [Problem(self.source, f"several placeholders: {listed(needed)}", "input_name, one of them")]
            )
        name = input_name or next(iter(needed), None)
        if name is None or name not in needed:
            found = f"the output {shown(self.output)} does not depend on {shown(name or 'a placeholder')}"
            raise InputError([Problem(self.source, found, "an output that does")])
        if others := [other for other in needed if other != name]:
            found = f"besides {shown(name)} the output {shown(self.output)} needs {listed(others)}"
            raise InputError([Problem(self.source, found, "one placeholder; name an output that needs no other")])
        return name

    def _no_such(self, what: str, name: str, candidates: Collection[str]) -> Problem:
        return Problem(self.source, f"no {what} {shown(name)}", f"the name of one{nearest(name, candidates)}")


def _reference(text: str) -> Reference | None:
    name, colon, output = text.partition(":")
    if colon and not (output.isdecimal() and len(output) < 10):
        return None
    return Reference(name, int(output or 0))


def nearest(name: str, names: Collection[str]) -> str:
    """What may have been meant, as the end of a message."""
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def listed(names: Collection[str]) -> str:
    """The first names of a long list."""
    first = ", ".join(shown(name, 120) for name in list(names)[:5])
    return first + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def first_of(problems: Sequence[object]) -> list[object]:
    """The first problems, and in one line how many there are more."""
    rest = len(problems) - MAX_PROBLEMS
    return [*problems[:MAX_PROBLEMS], *([f"and {rest} more"] if rest > 0 else [])]
