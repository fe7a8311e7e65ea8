"""Which redirects are S3's own. They are followed, signed anew; any other is a final error.

S3 redirects to the endpoint of a bucket or of its region. Whatever else answers with a redirect
would get the body of the request and the session token.

>>> made_by_s3("http://s3.example.com/b/k", "http://b.s3.example.com/k")
True
>>> made_by_s3("http://s3.example.com/b/k", "http://example.org/b/k")
False
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from fsspec_avroglob.s3.classification import RedirectRefusedError

_STATUSES = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}

# The names of S3's endpoints; amazonaws.com also has machines of AWS's customers.
_AWS_S3 = re.compile(
    r"(?:[a-z0-9.-]+\.)?s3(?:-fips|-accelerate|-external-1)?(?:\.dualstack)?"
    r"(?:[.-][a-z]{2}(?:-[a-z]+)+-[0-9])?\.amazonaws\.com(?:\.cn)?"
).fullmatch
_IN_AWS = re.compile(r"(?:.+\.)?amazonaws\.com(?:\.cn)?").fullmatch
_ADDRESS = re.compile(r"[0-9.]+|.*:.*").fullmatch


def follow_redirect(
    response: tuple[Any, Mapping[str, Any]] | None,
    operation: Any,
    request_dict: dict[str, Any],
    **_: Any,
) -> int | None:
    """Botocore's handler of ``needs-retry``: repeat a request that S3 redirects, at most once.

    Raises
    ------
    RedirectRefusedError
        The redirect leads to a host that is not S3's.
    """
    if response is None or response[0] is None or response[0].status_code not in _STATUSES:
        return None
    asked, headers = response[0].url, response[0].headers
    redirects = request_dict["context"].setdefault("s3_redirect", {})
    region = headers.get("x-amz-bucket-region") or response[1].get("Error", {}).get("Region")
    location = headers.get("location")
    if region is not None and (location is None or _IN_AWS(urlsplit(asked).hostname or "")):
        return None  # botocore knows the endpoints of AWS's regions
    repeated = redirects.get("redirected")
    # Botocore would ask for the region with a HEAD, which may be redirected, and so on.
    redirects["redirected"] = True
    if location is None:
        return None
    target = urljoin(asked, location)
    if repeated or response[0].status_code == 303 or not made_by_s3(asked, target):
        why = "a second time" if repeated else "which is not S3's own redirect"
        raise RedirectRefusedError(
            f"{_host(urlsplit(asked))} redirects {operation.name} to {_host(urlsplit(target))}, "
            f"{why}: it is not followed"
        )
    request_dict["url"] = target
    if region is not None:
        signing = request_dict["context"].get("signing", {})
        request_dict["context"]["signing"] = {**signing, "region": region}
    return 0


def made_by_s3(asked: str, target: str) -> bool:
    """Whether S3 at the URL *asked* may redirect to the URL *target*.

    It may redirect within its host, to the subdomain of a bucket, and to the same service in
    another region: a name that differs in one label between the first and the domain. AWS may
    redirect to its other endpoints of S3.
    """
    old, new = urlsplit(asked), urlsplit(target)
    secured = (old.scheme, new.scheme) == ("http", "https")
    if old.scheme != new.scheme and not secured:
        return False
    before, after = (old.hostname or "").lower(), (new.hostname or "").lower()
    if _IN_AWS(before):
        return _AWS_S3(after) is not None and _port(new) == _PORTS[new.scheme]
    if _port(old) != _port(new) and not (secured and (_port(old), _port(new)) == (80, 443)):
        return False
    if before == after:
        return True
    if _ADDRESS(before) or _ADDRESS(after):
        return False
    return after.endswith("." + before) or _in_another_region(before, after)


def _in_another_region(before: str, after: str) -> bool:
    one, other = before.split("."), after.split(".")
    if len(one) != len(other):
        return False
    # A domain has two labels, or three below a country: example.co.uk.
    domain = 3 if len(one[-1]) == 2 and len(one) > 2 and len(one[-2]) <= 3 else 2
    differing = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return len(differing) == 1 and 0 < differing[0] < len(one) - domain


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None


def _host(url: SplitResult) -> str:
    return url.netloc.rpartition("@")[2] or "no host"
