"""What people write (recipes, protocols, configurations, options) as pydantic models, with one line for each mistake.

A model's field says in its `description` what is expected; without one, its type and bounds say so, or the `ValueError`
that a validator raises. For mistakes that are of no single field, a validator raises `InputError` with whole lines.

pydantic and PyYAML are imported when something is read, so that importing this module costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from Activation_Extraction.base.errors import InputError, did_you_mean, first_line, shown

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Schema = dict[str, Any]
"""A JSON Schema, which is how pydantic tells what a model holds."""

NOUNS = {
    "integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false",
    "array": "a list", "object": "keys and values",
}  # fmt: skip
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def validated(model: type[T], content: object, source: str | None) -> T:
    """Content as a model: a pydantic model or dataclass, or a plain dataclass.

    Args:
        model: of types that JSON has. Unknown keys are mistakes if its configuration has `extra="forbid"`.
        content: of mappings, lists and scalars, as YAML has them or as a call was given them.
        source: the file, which begins each line; None for options of a command, which are shown as `--options`.

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
        raise input_error(error, adapter.json_schema(), content, source) from None


def input_error(error: ValidationError, schema: Schema, content: object, source: str | None) -> InputError:
    """What pydantic found wrong with `content`, which was to be as `schema` says, as one error of ours."""
    lines = [line for each in error.errors(include_url=False) for line in _lines(each, schema, content, source)]
    return InputError(dict.fromkeys(lines))


def read_yaml(path: str | PathLike[str]) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: it cannot be read; it is not YAML; a key appears twice, so one value would be lost without a word.
    """
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [str(key.value) for key, _ in node.value]
            if twice := sorted({key for key in keys if keys.count(key) > 1}):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{twice[0]}' appears twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), UniqueKeys)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not YAML ({first_line(error)})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def _lines(error: ErrorDetails, schema: Schema, content: object, source: str | None) -> list[str]:
    kind, context = error["type"], error.get("ctx", {})
    path, node, found = _followed([*error["loc"]], schema, content)
    place = _place(source, path)
    if kind == "missing" and isinstance(error["loc"][-1], str):
        return [f"{place}: no key '{error['loc'][-1]}'"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        path, node, _ = _followed([*error["loc"][:-1]], schema, content)
        return [_unknown_key(_place(source, path), error["loc"][-1], list(node.get("properties", ())), source)]
    if error["loc"][-1:] == ("[key]",):
        path, node, _ = _followed([*error["loc"][:-2]], schema, content)
        place = _place(source, path)
        if kind == "literal_error":
            return [_unknown_key(place, error["input"], _choices(context["expected"]), source)]
        return [
            f"{place}: found the key {shown(error['input'])}; expected {node.get('description') or _pydantic_says(error)}"
        ]
    if kind == "union_tag_not_found":
        return [f"{place}: no key {context['discriminator']}; expected one of {', '.join(_tags(node))}"]
    if kind == "union_tag_invalid":
        place, found = _place(source, [*path, _choices(context["discriminator"])[0]]), context["tag"]
        return [f"{place}: found {shown(found)}; expected {_one_of(found, _tags(node))}"]
    if kind == "value_error" and isinstance(context["error"], InputError):
        return [f"{place}: {problem}" for problem in context["error"].problems]
    said = _expected(node, found) if kind != "value_error" or "description" in node else str(context["error"])
    return [f"{place}: found {shown(found)}; expected {said or _pydantic_says(error)}"]


def _pydantic_says(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Input should be ")


def _followed(steps: list[Any], schema: Schema, content: object) -> tuple[list[Any], Schema, object]:
    """The keys from the top to what is wrong, what is expected there, and the value that is there.

    pydantic's steps are also names of a union's members, and go below what a description describes; keys do neither.
    """
    path: list[Any] = []
    node = schema
    for step in steps:
        node = _resolved(node, schema)
        if "description" in node and not node.keys() & {"properties", "additionalProperties"}:
            break
        values = dict(enumerate(content)) if isinstance(content, list | tuple) else content
        if isinstance(values, Mapping) and step in values:
            path.append(step)
            content, node = values[step], _below(node, step)
        elif step in _tags(node):
            node = {"$ref": node["discriminator"]["mapping"][step]}
    return path, _resolved(node, schema), content


def _below(node: Schema, step: Any) -> Schema:
    """What is expected at a key or a position."""
    if step in node.get("properties", ()):
        return dict(node["properties"][step])
    positions = node.get("prefixItems", ())
    below = positions[step] if positions else node.get("items", node.get("additionalProperties"))
    return below if isinstance(below, dict) else {}


def _resolved(node: Schema, schema: Schema) -> Schema:
    """A node itself where it only refers to another, or is another or nothing."""
    if "$ref" in node:
        named = dict(schema["$defs"][node["$ref"].rpartition("/")[2]])
        named.pop("description", None)  # of the class: what it is, not what is expected of people
        return _resolved(named | {key: value for key, value in node.items() if key != "$ref"}, schema)
    some = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
    if len(some) == 1:
        return _resolved(some[0] | {key: value for key, value in node.items() if key != "anyOf"}, schema)
    return node


def _tags(node: Schema) -> list[str]:
    """The names by which the members of a union are told apart."""
    return list(node.get("discriminator", {}).get("mapping", ()))


def _expected(node: Schema, found: object) -> str:
    if "enum" in node or "const" in node:
        return _one_of(found, [str(choice) for choice in node.get("enum", [node.get("const")])])
    if "properties" in node:
        return f"keys and values: {', '.join(node['properties'])}"
    if "description" in node:
        return str(node["description"])
    if "prefixItems" in node:
        return f"a list of {len(node['prefixItems'])}"
    noun = NOUNS.get(node.get("type", ""), "")
    bounds = [f"{word} {node[bound]:,}" for bound, word in BOUNDS.items() if bound in node]
    return f"{noun} {', '.join(bounds)}".strip() if noun else ""


def _unknown_key(place: str, key: Any, known: list[str], source: str | None) -> str:
    key, known = (key, known) if source else (_option(key), [_option(name) for name in known])
    hint = did_you_mean(key, known) or f"; expected {', '.join(known)}"
    return f"{place or 'options'}: no such key {shown(key)}{hint}"


def _one_of(found: object, known: list[str]) -> str:
    return f"one of {', '.join(known)}{did_you_mean(found, known)}"


def _choices(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _place(source: str | None, path: list[Any]) -> str:
    if source is None:
        return ".".join([*(_option(step) for step in path[:1]), *(str(step) for step in path[1:])])
    return f"{source}, {'.'.join(map(str, path))}" if path else source


def _option(name: object) -> str:
    return f"--{str(name).replace('_', '-')}"
