"""The structure of a graph: which node takes what, in which order nodes run, where images go in and what comes out."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from Activation_Extraction.base.errors import InputError, listed_up_to, shown
from Activation_Extraction.models.frozen_graph.attributes import Attributes
from Activation_Extraction.models.frozen_graph.graph_def import Constant, Node

NEVER_THE_OUTPUT = ("NoOp", "Assert", "Placeholder")

MAX_PROBLEMS = 20
"""Problems listed in one error; the rest are counted."""


class Reference(NamedTuple):
    """One output of a node."""

    name: str
    output: int

    def __str__(self) -> str:
        return f"{self.name}:{self.output}" if self.output else self.name


class Plan:
    """What to run, and in which order; making one checks the structure of the graph.

    Attributes:
        references: the data inputs of every node.
        order: the nodes that the output needs, each after its inputs.
        input_name: the placeholder.
        output: what the graph returns.
    """

    def __init__(self, nodes: Mapping[str, Node], source: str, input_name: str | None, output_name: str | None) -> None:
        self.nodes, self.source = nodes, source
        placeholders = [name for name, node in nodes.items() if node.operation == "Placeholder"]
        if input_name is not None and input_name not in placeholders:
            raise InputError(self._no_such("placeholder", input_name, placeholders))
        self.references = self._all_references()
        order = self._sorted()
        self.output = self._chosen_output(order, [input_name] if input_name else placeholders, output_name)
        needed = self._needed(self.output.name)
        self.order = [name for name in order if name in needed]
        self.input_name = self._chosen_input([name for name in placeholders if name in needed], input_name)

    def without_identities(self, reference: Reference) -> Reference:
        """Where a value comes from, before any Identity."""
        while self.nodes[reference.name].operation == "Identity" and self.references[reference.name]:
            reference = self.references[reference.name][0]
        return reference

    def constant(self, reference: Reference) -> Constant | None:
        """The value of a reference to a constant; None for other nodes."""
        node = self.nodes[self.without_identities(reference).name]
        return Attributes(node, self.source).tensor("value") if node.operation == "Const" else None

    def _all_references(self) -> dict[str, list[Reference]]:
        references: dict[str, list[Reference]] = {}
        problems = []
        for node in self.nodes.values():
            references[node.name] = []
            for text in node.inputs:
                reference = _reference(text.removeprefix("^"))
                if reference is None or reference.name not in self.nodes:
                    missing = f"node {shown(node.name, 120)} takes {shown(text, 120)}, which does not exist"
                    problems.append(f"{self.source}: {missing}; expected a complete graph")
                elif not text.startswith("^"):
                    references[node.name].append(reference)
        if problems:
            raise InputError(listed_up_to(problems, MAX_PROBLEMS))
        return references

    def _sorted(self) -> list[str]:
        """The order of the file wherever that gives every node after its inputs."""
        names = list(self.nodes)
        place = {name: k for k, name in enumerate(names)}
        inputs = {name: [reference.name for reference in taken] for name, taken in self.references.items()}
        sorter = TopologicalSorter(inputs)
        try:
            sorter.prepare()
        except CycleError as error:
            *cycle, _ = error.args[1]
            start = cycle.index(min(cycle))
            cycle = [*cycle[start:], *cycle[: start + 1]]
            shown_cycle = " → ".join(cycle if len(cycle) < 6 else [*cycle[:3], "…", cycle[-1]])
            raise InputError(
                f"{self.source}: the nodes form a cycle: {shown_cycle}; expected a graph that runs from input to output"
            ) from None
        order: list[str] = []
        ready: list[int] = []
        while sorter.is_active():
            for name in sorter.get_ready():
                heapq.heappush(ready, place[name])
            order.append(names[heapq.heappop(ready)])
            sorter.done(order[-1])
        return order

    def _needed(self, output: str) -> set[str]:
        needed, todo = set(), [output]
        while todo:
            if (name := todo.pop()) not in needed:
                needed.add(name)
                todo += [reference.name for reference in self.references[name]]
        return needed

    def _chosen_output(self, order: list[str], inputs: Collection[str], output_name: str | None) -> Reference:
        if output_name is not None:
            reference = _reference(output_name)
            if reference is None or reference.name not in self.nodes:
                raise InputError(self._no_such("output", output_name, self.nodes))
            return reference
        reached = set(inputs)
        for name in order:
            if any(reference.name in reached for reference in self.references[name]):
                reached.add(name)
        consumed = {reference.name for inputs in self.references.values() for reference in inputs}
        for name in reversed(list(self.nodes)):
            if name in reached - consumed and self.nodes[name].operation not in NEVER_THE_OUTPUT:
                return Reference(name, 0)
        raise InputError(f"{self.source}: no node depends on a placeholder; expected one that takes the images")

    def _chosen_input(self, needed: list[str], input_name: str | None) -> str:
        if input_name is None and len(needed) > 1:
            raise InputError(
                f"{self.source}: several placeholders: {listed(needed)}; expected input_name to be one of them"
            )
        name = input_name or next(iter(needed), None)
        output = f"the output {shown(self.output)}"
        if name is None or name not in needed:
            wanted = shown(name) if name else "any placeholder"
            raise InputError(f"{self.source}: {output} does not depend on {wanted}; expected an output that does")
        if others := [other for other in needed if other != name]:
            raise InputError(
                f"{self.source}: besides {shown(name)} {output} needs {listed(others)}; "
                "expected one placeholder; choose an output that needs no other"
            )
        return name

    def _no_such(self, what: str, name: str, candidates: Collection[str]) -> str:
        return f"{self.source}: no {what} {shown(name)}; expected the name of one{nearest(name, candidates)}"


def _reference(text: str) -> Reference | None:
    name, colon, output = text.partition(":")
    if colon and not (output.isdecimal() and len(output) < 10):
        return None
    return Reference(name, int(output or 0))


def nearest(name: str, names: Collection[str]) -> str:
    """The most similar names, as the end of a message."""
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def listed(names: Collection[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(listed_up_to([shown(name, 120) for name in names], 5))
