"""The exception classes: one tree, drawn in the module's docstring; every one can be pickled."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import fsspec_avroglob
from fsspec_avroglob import errors
from fsspec_avroglob.errors import AvroGlobError

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, AvroGlobError)
]
EXAMPLES: dict[type[AvroGlobError], AvroGlobError] = {
    type(error): error
    for error in (
        errors.AvroDecodeError("b/1.avro", "too short", 3, 170),
        errors.BlockTooLargeError("xz", 5),
        errors.ConversionError("a.b", "too long"),
        errors.CorruptBlockError("bad length", 70, "b/1.avro", 2),
        errors.FieldError("a", "no type"),
        errors.HeaderLinesDifferError("b/1.csv", b"a,b", "b/2.csv", b"a,c"),
        errors.NotWritableError("a[]", "no type"),
        errors.PatternError("a{b", 1, "no closing brace"),
        errors.RefusedKeysError("/tmp/x", {"b/../y": "leads elsewhere"}),
        errors.SchemaMismatchError("b/1.avro", "b/2.avro", "a", "int", None),
        errors.UncertainBlockError("no block follows", 70),
        errors.UncertainHeaderError("b/1.csv", "b/2.csv", b"a,b"),
        errors.UnsupportedTypeError("a{}", "no type", "Polars"),
    )
}


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_pickle(kind: type[AvroGlobError]) -> None:
    error = EXAMPLES.get(kind) or kind("what happened")
    error.add_note("a note")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not AvroGlobError])
def test_errors_are_public(kind: type[AvroGlobError]) -> None:
    assert issubclass(kind, ValueError | RuntimeError)
    assert getattr(fsspec_avroglob, kind.__name__) is kind


def test_docstring_draws_the_tree() -> None:
    parents: list[str] = []
    drawn = {}
    for indent, name in re.findall(r"^    ([ │├└─]*)(\w+Error)\b", errors.__doc__ or "", re.M):
        del parents[len(indent) // 4 :]
        drawn[name] = parents[-1] if parents else "Exception"
        parents.append(name)

    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind.__base__}
