"""S3's XML answers as AWS writes them, at more than a million keys a second."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape
from zlib import crc32

from benchmarks.keyspace import Listing

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
VARIANTS = 4096
_FIRST_MODIFIED = datetime(2024, 1, 1, tzinfo=UTC)
_URL_UNSAFE = re.compile(r"[^A-Za-z0-9._~*/%+\n-]")
_XML_UNSAFE = re.compile(r"[<>\"\x00-\x09\x0b-\x1f\x7f\ufffe\uffff]")


class Metadata(NamedTuple):
    """The fields of a listing and of a HEAD answer, without the key."""

    size: int
    etag: str
    modified: datetime

    @property
    def http_modified(self) -> str:
        """The value of the Last-Modified header."""
        return format_datetime(self.modified, usegmt=True)


class Objects:
    """The metadata of all objects of a bucket: the CRC of a key selects one of some variants."""

    def __init__(self, size_bytes: int) -> None:
        """Give every object this size."""
        self.variants = [
            Metadata(
                size_bytes,
                md5(str(number).encode(), usedforsecurity=False).hexdigest(),
                _FIRST_MODIFIED + timedelta(seconds=number * 7919),
            )
            for number in range(VARIANTS)
        ]
        self._tails = [_tail(variant) for variant in self.variants]

    def of(self, key: str) -> Metadata:
        """Return the metadata of the object `key`."""
        return self.variants[crc32(key.encode()) % VARIANTS]

    def contents(self, keys: list[str], *, url: bool) -> str:
        """Return the Contents elements of `keys`."""
        tails = self._tails
        return "".join(
            [
                f"<Contents><Key>{text}{tails[crc32(key.encode()) % VARIANTS]}"
                for key, text in zip(keys, _encode_all(keys, url=url), strict=True)
            ]
        )


def _tail(variant: Metadata) -> str:
    return (
        f"</Key><LastModified>{variant.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>&quot;{variant.etag}&quot;</ETag><Size>{variant.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


class Query(NamedTuple):
    """The parameters of a ListObjectsV2 request; its answer repeats them. url: encode the keys."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    start_after: str = ""
    continuation_token: str = ""
    max_keys: int = 1000
    url: bool = False


def list_result(query: Query, listing: Listing, next_token: str, objects: Objects) -> bytes:
    """Return the ListBucketResult of one page; `next_token` is empty on the last page."""
    url = query.url
    head = [
        _element("Name", query.bucket),
        _element("Prefix", query.prefix, url=url),
        _element("StartAfter", query.start_after, url=url) if query.start_after else "",
        _element("ContinuationToken", query.continuation_token) if query.continuation_token else "",
        _element("NextContinuationToken", next_token) if next_token else "",
        f"<KeyCount>{len(listing.keys) + len(listing.prefixes)}</KeyCount>",
        f"<MaxKeys>{query.max_keys}</MaxKeys>",
        _element("Delimiter", query.delimiter, url=url) if query.delimiter else "",
        "<EncodingType>url</EncodingType>" if url else "",
        f"<IsTruncated>{'true' if listing.truncated else 'false'}</IsTruncated>",
    ]
    prefixes = [
        f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
        for prefix in _encode_all(listing.prefixes, url=url)
    ]
    return (
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}">{"".join(head)}'
        f"{objects.contents(listing.keys, url=url)}{''.join(prefixes)}</ListBucketResult>"
    ).encode()


def error_result(code: str, message: str, resource: str) -> bytes:
    """Return the Error document of a failure."""
    return (
        f"{DECLARATION}<Error><Code>{code}</Code><Message>{escape(message)}</Message>"
        f"<Resource>{escape(resource)}</Resource><RequestId>benchmarks</RequestId></Error>"
    ).encode()


def _element(name: str, text: str, *, url: bool = False) -> str:
    return f"<{name}>{_encode(text, url=url).replace(chr(10), '%0A' if url else '&#10;')}</{name}>"


def _encode_all(texts: list[str], *, url: bool) -> list[str]:
    """Encode texts joined as lines, which is faster, unless one of them has a line break."""
    lines = "\n".join(texts)
    if lines.count("\n") >= max(1, len(texts)):
        newline = "%0A" if url else "&#10;"
        return [_encode(text, url=url).replace("\n", newline) for text in texts]
    return _encode(lines, url=url).split("\n") if texts else []


def _encode(text: str, *, url: bool) -> str:
    """Encode all characters but line breaks, in one pass for each character that occurs."""
    # First the characters of the encodings themselves: "%", "+" (for a space), "&" and ";".
    if url:
        text = text.replace("%", "%25").replace("+", "%2B").replace(" ", "+")
    else:
        text = text.replace("&", "&amp;")
    unsafe = _URL_UNSAFE if url else _XML_UNSAFE
    while found := unsafe.search(text):
        text = text.replace(found[0], quote(found[0]) if url else f"&#{ord(found[0])};")
    return text
