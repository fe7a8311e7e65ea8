"""Successful answers that S3 did not give: empty ones, and pages of something on the way to it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fsspec_avroglob.s3.classification import UnexpectedAnswerError


def refuse_foreign_answers(client: Any) -> None:
    """Have *client* raise UnexpectedAnswerError where XML is due and something else comes.

    Botocore takes an empty body, and any XML that it does not know, for an answer without content:
    a listing would seem to be empty.
    """
    client.meta.events.register("before-parse.s3.*", _check)


def _check(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Botocore's ``before-parse`` handler."""
    body = response_dict["body"]
    if response_dict["status_code"] >= 300 or not isinstance(body, bytes):
        return
    # Some servers send blanks to keep a connection alive while they work.
    start = body[:64].lstrip() or body.lstrip()[:64]
    if start[:1] == b"<" and not start[:14].lower().startswith((b"<html", b"<!doctype html")):
        return
    if _xml_due(operation_model):
        what = "is no XML of S3" if start else "is empty"
        raise UnexpectedAnswerError(f"the answer to {operation_model.name} {what}")


@lru_cache
def _xml_due(operation_model: Any) -> bool:
    """Whether the operation's answer is told in the body, as XML."""
    shape = operation_model.output_shape
    if shape is None or operation_model.has_event_stream_output:
        return False
    payload = shape.serialization.get("payload")
    if payload is not None:
        return bool(shape.members[payload].type_name == "structure")
    return any("location" not in member.serialization for member in shape.members.values())
