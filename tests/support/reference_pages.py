"""What botocore and s3fs read from a page, to compare with."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import create_parser
from s3fs import S3FileSystem

from fsspec_avroglob.s3.entries import UnrecognizedPage
from fsspec_avroglob.s3.page import page_from_response, parse_page
from tests.support.dialects import (
    infos_of,
)

PARSER = create_parser("rest-xml")
SHAPE = (
    botocore.session.get_session()
    .get_service_model("s3")
    .operation_model("ListObjectsV2")
    .output_shape
)


def botocore_response(body: bytes) -> dict[str, Any]:
    response = PARSER.parse({"body": body, "headers": {}, "status_code": 200}, SHAPE)
    decode_list_object_v2(response, {"encoding_type_auto_set": True})
    return response


def s3fs_infos(response: dict[str, Any], bucket: str) -> list[dict[str, Any]]:
    infos = []
    for item in response.get("Contents", []):
        info = {**item, "type": "file", "size": item["Size"]}
        S3FileSystem._fill_info(info, bucket, versions=False)
        infos.append(info)
    return infos


def is_read_like_botocore(body: bytes) -> bool:
    """Return whether parse_page accepts the page; fail if the result is not that of botocore."""
    try:
        page = parse_page(body)
    except UnrecognizedPage:
        with pytest.raises(UnrecognizedPage):
            parse_page(body, detail=True)
        return False
    response = botocore_response(body)
    slow = page_from_response(response)
    assert page == slow
    assert page.keys == [item["Key"] for item in response.get("Contents", [])]
    assert page.prefixes == [item["Prefix"] for item in response.get("CommonPrefixes", [])]
    token = response["NextContinuationToken"] if response["IsTruncated"] else None
    assert page.next_token == token
    expected = s3fs_infos(response, "b")
    assert infos_of(page, "b") == expected
    assert infos_of(slow, "b") == expected
    detailed = parse_page(body, detail=True)
    assert detailed == page
    assert infos_of(detailed, "b") == expected
    for index in range(len(expected)):
        assert infos_of(page, "b", [index]) == [expected[index]]
        assert infos_of(detailed, "b", [index]) == [expected[index]]
    return True
