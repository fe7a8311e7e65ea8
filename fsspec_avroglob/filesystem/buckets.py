"""The location of a new bucket."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")


def location_constraint(client: Any, stated: str | None) -> str | None:
    """The location constraint of a new bucket: *stated*, or on AWS the region of the client.

    Only AWS's regions are locations, and us-east-1 is the one that has no name. Other servers know
    locations of their own, which are not the region that requests are signed for.
    """
    if stated is None:
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        stated = client.meta.region_name if host.endswith(_AWS_DOMAINS) else None
    return None if stated in (None, "", "us-east-1", "aws-global") else stated
