"""What people write, and what files state (recipes, protocols, options, manifests), as pydantic models: a line a mistake.

The expected value in a message is the field's `description`; without one, its type and bounds, or the text of the
`ValueError` that a validator raises. For mistakes in several fields at once, validators raise `InputError`.

pydantic is imported when something is validated, so importing this module is cheap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from Activation_Extraction.base.errors import InputError, did_you_mean, listed_up_to, shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Schema = dict[str, Any]
"""A JSON Schema, as pydantic derives it from a model."""

NOUNS = {
    "integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false",
    "array": "a list", "object": "keys and values",
}  # fmt: skip
_MOST_ERRORS, _SHOWN_LINES = 1000, 20
"""Mistakes that are looked at, and lines of them in a message: a damaged manifest may have thousands."""

_SHOWN_KEY = 60

BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def validated(model: type[T], content: object, source: str | None) -> T:
    """Content as a model: a pydantic model or dataclass, or a plain dataclass.

    Args:
        model: with fields of JSON types. It rejects unknown keys if its configuration has `extra="forbid"`.
        content: mappings, lists and scalars, as `read_yaml` and `read_json` give them.
        source: the file named in each message; None for the options of a command, which are shown as `--options`.

    Raises:
        InputError: one line for each mistake: source, key path, value found, what was expected, nearest known name.

    >>> validated(dict[str, int], {"steps": "many"}, "mine.yaml")
    Traceback (most recent call last):
    Activation_Extraction.base.errors.InputError: mine.yaml, steps: found 'many'; expected a whole number
    """
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(model)
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        schema = adapter.json_schema()
        errors = error.errors(include_url=False)[:_MOST_ERRORS]
        lines = [line for each in errors for line in _lines(each, schema, content, source)]
    raise InputError(listed_up_to(list(dict.fromkeys(lines)), _SHOWN_LINES, "lines like these"))


def _lines(error: ErrorDetails, schema: Schema, content: object, source: str | None) -> list[str]:
    kind, context, steps = error["type"], error.get("ctx", {}), [*error["loc"]]
    last = steps[-1] if steps else None
    is_unknown, is_wrong_key = kind in ("unexpected_keyword_argument", "extra_forbidden"), last == "[key]"
    path, node, found = _followed(steps[: -2 if is_wrong_key else -1 if is_unknown else None], schema, content)
    place, said = _place(source, path), error["msg"].removeprefix("Input should be ")
    if is_unknown:
        return [_unknown_key(place, last, node.get("properties", ()), source)]
    if is_wrong_key and kind == "literal_error":
        return [_unknown_key(place, error["input"], _quoted(context["expected"]), source)]
    if is_wrong_key:
        return [f"{place}: found the key {shown(error['input'])}; expected {node.get('description') or said}"]
    if kind == "missing" and isinstance(last, str):
        return [f"{place}: no key '{last}'"]
    if kind == "union_tag_not_found":
        return [f"{place}: no key {context['discriminator']}; expected one of {', '.join(_members(node))}"]
    if kind == "union_tag_invalid":
        place, found = _place(source, [*path, *_quoted(context["discriminator"])]), context["tag"]
        return [f"{place}: found {shown(found)}; expected {_one_of(found, _members(node))}"]
    if kind == "value_error" and isinstance(context["error"], InputError):
        return [f"{place}: {problem}" for problem in context["error"].problems]
    expected = _expected(node, found) if kind != "value_error" or "description" in node else str(context["error"])
    return [f"{place}: found {shown(found)}; expected {expected or said}"]


def _followed(steps: list[Any], schema: Schema, content: object) -> tuple[list[Any], Schema, object]:
    """The key path to a mistake, the schema there, and the value there.

    pydantic's steps also name members of unions, and go deeper than the node that has a description; key paths do not.
    """
    path: list[Any] = []
    node = _resolved(schema, schema)
    for step in steps:
        if "description" in node and not node.keys() & {"properties", "additionalProperties"}:
            break
        values = dict(enumerate(content)) if isinstance(content, list | tuple) else content
        if isinstance(values, Mapping) and step in values:
            path.append(step)
            content, node = values[step], _resolved(_child(node, step), schema)
        elif step in (members := _members(node)):
            node = _resolved({"$ref": members[step]}, schema)
    return path, node, content


def _child(node: Schema, step: Any) -> Schema:
    """The schema of a key or a position."""
    if step in node.get("properties", ()):
        return dict(node["properties"][step])
    child = node["prefixItems"][step] if "prefixItems" in node else node.get("items", node.get("additionalProperties"))
    return child if isinstance(child, dict) else {}


def _resolved(node: Schema, schema: Schema) -> Schema:
    """A node with references, and unions of one thing and null, replaced by what they mean."""
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    if "$ref" in node:  # the description of a class says what it is, not what people should write
        named = schema["$defs"][node["$ref"].rpartition("/")[2]]
        inner = {key: value for key, value in named.items() if key != "description"}
    elif len(options) == 1:
        (inner,) = options
    else:
        return node
    return _resolved(inner | {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}, schema)


def _members(node: Schema) -> dict[str, str]:
    """The members of a tagged union: tag → reference."""
    return dict(node.get("discriminator", {}).get("mapping", {}))


def _expected(node: Schema, found: object) -> str:
    if "enum" in node or "const" in node:
        return _one_of(found, map(str, node.get("enum", [node.get("const")])))
    if "properties" in node:
        return f"keys and values: {', '.join(node['properties'])}"
    if "description" in node:
        return str(node["description"])
    if "prefixItems" in node:
        return f"a list of {len(node['prefixItems'])}"
    noun = NOUNS.get(node.get("type", ""), "")
    bounds = [f"{word} {node[bound]:,}" for bound, word in BOUNDS.items() if bound in node]
    return noun and f"{noun} {', '.join(bounds)}".strip()


def _unknown_key(place: str, key: Any, known: Iterable[str], source: str | None) -> str:
    key, known = (key, list(known)) if source else (_option(key), list(map(_option, known)))
    hint = did_you_mean(key, known) or f"; expected {', '.join(known)}"
    return f"{place or 'options'}: no such key {shown(key)}{hint}"


def _one_of(found: object, known: Iterable[str]) -> str:
    known = list(known)
    return f"one of {', '.join(known)}{did_you_mean(found, known)}"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _place(source: str | None, path: list[Any]) -> str:
    steps = [text if len(text := str(step)) <= _SHOWN_KEY else f"{text[:_SHOWN_KEY]}…" for step in path]
    if source is None:
        return ".".join([*map(_option, steps[:1]), *steps[1:]])
    return f"{source}, {'.'.join(steps)}" if path else source


def _option(name: object) -> str:
    return f"--{str(name).replace('_', '-')}"
