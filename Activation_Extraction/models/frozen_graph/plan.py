"""The structure of a graph: what refers to what, in which order nodes run, where images go in and what comes out."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, Problem, shown
from Activation_Extraction.models.frozen_graph.graph_def import Node

INPUTS = ("Placeholder", "PlaceholderWithDefault")
WITHOUT_VALUE = ("NoOp", "Assert")
"""Operations that end a branch without giving a value, so never the output."""

MAX_PROBLEMS = 20
"""How many problems of one kind are listed; the rest are counted."""


class Reference(NamedTuple):
    """One output of a node."""

    name: str
    output: int

    def __str__(self) -> str:
        return f"{self.name}:{self.output}" if self.output else self.name


class Plan:
    """What is to be run, in which order, once the structure of the graph has been found sound.

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
        if input_name is not None and (input_name not in self.nodes or self.nodes[input_name].operation not in INPUTS):
            raise InputError([self._no_such(input_name, "placeholder")])
        self.references = self._all_references()
        order = self._sorted()
        self.output = self._chosen_output(order, input_name, output_name)
        needed = self._needed(self.output.name)
        self.order = [name for name in order if name in needed]
        self.input_name = self._chosen_input(input_name)
        # What stands before a placeholder with a default is not run when the images replace it.
        needed = self._needed(self.output.name, stop=self.input_name)
        self.order = [name for name in self.order if name in needed]

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

    def _needed(self, output: str, stop: str | None = None) -> set[str]:
        needed, todo = set(), [output]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += [reference.name for reference in self.references[name]] if name != stop else []
        return needed

    def _chosen_output(self, order: list[str], input_name: str | None, output_name: str | None) -> Reference:
        if output_name is not None:
            reference = _reference(output_name)
            if reference is None or reference.name not in self.nodes:
                raise InputError([self._no_such(output_name, "output")])
            return reference
        reached = {input_name} if input_name else {n for n in order if self.nodes[n].operation in INPUTS}
        for name in order:
            if any(reference.name in reached for reference in self.references[name]):
                reached.add(name)
        consumed = {reference.name for inputs in self.references.values() for reference in inputs}
        for name in reversed(list(self.nodes)):
            if name in reached - consumed and self.nodes[name].operation not in (*WITHOUT_VALUE, *INPUTS):
                return Reference(name, 0)
        raise InputError([Problem(self.source, "no node depends on a placeholder", "one that takes the images")])

    def _chosen_input(self, input_name: str | None) -> str:
        for kind in INPUTS:
            names = [name for name in self.order if self.nodes[name].operation == kind]
            others = [name for name in names if name != input_name]
            if kind == "Placeholder" and input_name is not None and others:
                found = f"besides {shown(input_name)} the output {shown(self.output)} needs {listed(others)}"
                raise InputError([Problem(self.source, found, "one placeholder; name an output that needs no other")])
            if input_name is None and len(names) > 1:
                raise InputError(
                    [Problem(self.source, f"several placeholders: {listed(names)}", "input_name, one of them")]
                )
            if input_name is None and names:
                return names[0]
        if input_name not in self.order:
            found = f"the output {shown(self.output)} does not depend on {shown(input_name or 'a placeholder')}"
            raise InputError([Problem(self.source, found, "an output that does")])
        return input_name

    def _no_such(self, name: str, what: str) -> Problem:
        candidates = [n for n in self.nodes if what == "output" or self.nodes[n].operation in INPUTS]
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
