"""The protocol-buffer messages of a GraphDef's nodes, with the names and numbers of TensorFlow's .proto files.

Unused parts (functions, devices, strings of tensors) are skipped, or kept as bytes where their presence matters.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

_FIELDS = {
    "Node": "name=1 string, op=2 string, input=3 string*, attr=5 Attribute*",
    "Attribute": "key=1 string, value=2 Value",
    "Value": """list=1 List, s=2 bytes, i=3 int64, f=4 float, b=5 bool, type=6 int32, shape=7 Shape, tensor=8 Tensor,
        placeholder=9 bytes, func=10 bytes""",
    "List": """s=2 bytes*, i=3 int64*, f=4 float*, b=5 bool*, type=6 int32*, shape=7 Shape*, tensor=8 bytes*,
        func=9 bytes*""",
    "Shape": "dim=2 Dim*, unknown_rank=3 bool",
    "Dim": "size=1 int64",
    "Tensor": """dtype=1 int32, tensor_shape=2 Shape, tensor_content=4 bytes, float_val=5 float*, double_val=6 double*,
        int_val=7 int32*, int64_val=10 int64*, bool_val=11 bool*, half_val=13 int32*, uint32_val=16 uint32*,
        uint64_val=17 uint64*""",
}
"""`*` after a type: repeated. A Value holds one of its fields."""


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="frozen_graph.proto", package="frozen_graph", syntax="proto3")
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        if message == "Value":
            declared.oneof_decl.add(name="value")
        for text in fields.split(","):
            name, number, kind = text.replace("=", " ").split()
            field = declared.field.add(name=name, number=int(number))
            field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            if (kind := kind.rstrip("*")) in _FIELDS:
                field.type, field.type_name = field.TYPE_MESSAGE, f".frozen_graph.{kind}"
            else:
                field.type = field.Type.Value(f"TYPE_{kind.upper()}")
            if message == "Value":
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"frozen_graph.{name}")) for name in _FIELDS
    }


NODE: Any = _classes()["Node"]
"""The message class of one node."""


def misread(message: Any) -> str | None:
    """The first field, at any depth, whose wire type is not that of its number; protobuf skips such fields."""
    known = message.DESCRIPTOR.fields_by_number
    for unknown in UnknownFieldSet(message):
        if unknown.field_number in known:
            return f"{known[unknown.field_number].name} of wire type {unknown.wire_type}"
    for field, value in message.ListFields():
        for part in (value if field.is_repeated else [value]) if field.message_type else ():
            if found := misread(part):
                return found
    return None
