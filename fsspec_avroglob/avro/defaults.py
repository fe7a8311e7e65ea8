"""Default values of a schema's fields: from JSON to raw values of the physical schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsspec_avroglob.avro.physical import KEY, VALUE, field_name, is_general_union
from fsspec_avroglob.avro.resolution import FieldStep
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, kind_of
from fsspec_avroglob.errors import InvalidSchemaError


def raw_default(schema: ParsedSchema, path: str, field: FieldStep) -> Any:
    """Return the default of a field of *schema*. Raises InvalidSchemaError for another type's."""
    try:
        return _Default(schema).of(field.reader, field.default)
    except (KeyError, ValueError, OverflowError) as error:
        raise wrong_default(path, field) from error


def wrong_default(path: str, field: FieldStep) -> InvalidSchemaError:
    """Return the error for a field whose default is not of its type."""
    return InvalidSchemaError(
        f"invalid Avro schema: field {path!r} has the default {field.default!r}, "
        "which is not of its type"
    )


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float, str),  # "NaN" and "Infinity" are not JSON numbers
    "double": (int, float, str),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}
"""How JSON represents a default of each kind; the kinds not listed are strings."""


@dataclass(frozen=True)
class _Default:
    """Turns default values from JSON into Python values of the physical schema."""

    schema: ParsedSchema

    def of(self, type_: AvroSchema, value: Any) -> Any:
        """Return a default of *type_*. Raises KeyError or ValueError for another type's value."""
        type_ = self.schema.definition(type_)
        kind = kind_of(type_)
        if kind == "union":
            return self._union(type_, value)
        fits = isinstance(value, _JSON_TYPES.get(kind, (str,)))
        if not fits or (isinstance(value, bool) and kind != "boolean"):
            raise ValueError(f"{value!r} is not of type {kind}")
        match kind:
            case "record" | "error":
                return {
                    field_name(i): self.of(
                        f["type"], value[f["name"]] if f["name"] in value else f["default"]
                    )
                    for i, f in enumerate(type_["fields"])
                }
            case "array":
                return [self.of(type_["items"], item) for item in value]
            case "map":
                return [
                    {KEY: key.encode(), VALUE: self.of(type_["values"], item)}
                    for key, item in value.items()
                ]
            case "enum":
                return type_["symbols"].index(value)
            case "fixed" | "bytes":
                return value.encode("latin-1")
            case "string":
                return value.encode()
            case "float" | "double":
                return float(value)
        return value

    def _union(self, branches: list[AvroSchema], value: Any) -> Any:
        """Return a default of the first branch whose type it has."""
        for position, branch in enumerate(branches):
            try:
                inner = self.of(branch, value)
            except (KeyError, ValueError):
                continue
            general = is_general_union(branches) and value is not None
            return {field_name(position): inner} if general else inner
        raise ValueError(f"{value!r} is of no branch of its union")
