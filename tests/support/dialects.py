"""Pages of listings in the dialects of servers, and Hypothesis strategies for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

from fsspec_avroglob.s3.page import Page


def escape_named(text: str) -> str:
    for character, name in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&apos;"),
        ("\r", "&#13;"),
    ):
        text = text.replace(character, name)
    return text


def escape_as_go(text: str) -> str:
    for character, name in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&#34;"),
        ("'", "&#39;"),
        ("\t", "&#x9;"),
        ("\n", "&#xA;"),
        ("\r", "&#xD;"),
    ):
        text = text.replace(character, name)
    return text


def escape_least(text: str) -> str:
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#xD;")):
        text = text.replace(character, name)
    return text


@dataclass(frozen=True)
class Entry:
    key: str
    modified: str = "2024-05-06T07:08:09.000Z"
    etag: str = '"d41d8cd98f00b204e9800998ecf8427e"'
    size: int = 3
    storage_class: str | None = "STANDARD"
    checksums: tuple[str, ...] = ()
    checksum_type: str | None = None
    owner: tuple[str, str] | None = None
    restore: tuple[bool, str | None] | None = None


@dataclass(frozen=True)
class Listing:
    entries: tuple[Entry, ...]
    prefixes: tuple[str, ...] = ()
    token: str | None = None
    url: bool = True


def element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


@dataclass(frozen=True)
class Dialect:
    """How a server writes a page: prolog, escapes, order of fields in an entry and in the page."""

    name: str
    prolog: str
    escape: Callable[[str], str]
    encode: Callable[[str], str]
    fields: tuple[str, ...]
    page: tuple[str, ...]
    extra: str = ""
    empty: str = "<Prefix></Prefix>"

    def entry(self, entry: Entry, url: bool) -> dict[str, str]:
        escape = self.escape
        fields = {
            "Key": element("Key", escape(self.encode(entry.key) if url else entry.key)),
            "LastModified": element("LastModified", entry.modified),
            "ETag": element("ETag", escape(entry.etag)),
            "Size": element("Size", str(entry.size)),
            "ChecksumAlgorithm": "".join(
                element("ChecksumAlgorithm", name) for name in entry.checksums
            ),
        }
        if entry.checksum_type is not None:
            fields["ChecksumType"] = element("ChecksumType", entry.checksum_type)
        if entry.storage_class is not None:
            fields["StorageClass"] = element("StorageClass", escape(entry.storage_class))
        if entry.owner is not None:
            ident, name = entry.owner
            fields["Owner"] = element(
                "Owner", element("ID", escape(ident)) + element("DisplayName", escape(name))
            )
        if entry.restore is not None:
            running, expiry = entry.restore
            status = element("IsRestoreInProgress", "true" if running else "false")
            status += element("RestoreExpiryDate", expiry) if expiry else ""
            fields["RestoreStatus"] = element("RestoreStatus", status)
        return fields

    def render(self, listing: Listing) -> bytes:
        encode = self.encode if listing.url else str
        contents = ""
        for entry in listing.entries:
            fields = self.entry(entry, listing.url)
            inside = "".join(fields.get(name, "") for name in self.fields) + self.extra
            contents += element("Contents", inside)
        parts = {
            "Contents": contents,
            "CommonPrefixes": "".join(
                element("CommonPrefixes", element("Prefix", self.escape(encode(prefix))))
                for prefix in listing.prefixes
            ),
            "EncodingType": "<EncodingType>url</EncodingType>" if listing.url else "",
            "IsTruncated": element("IsTruncated", "true" if listing.token else "false"),
            "NextContinuationToken": element("NextContinuationToken", self.escape(listing.token))
            if listing.token
            else "",
            "KeyCount": element("KeyCount", str(len(listing.entries) + len(listing.prefixes))),
            "MaxKeys": "<MaxKeys>1000</MaxKeys>",
            "Name": "<Name>bucket</Name>",
            "Prefix": self.empty,
        }
        page = "".join(parts[name] for name in self.page)
        return f"{self.prolog}{page}</ListBucketResult>".encode()


NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
AWS = Dialect(
    "AWS",
    f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {NAMESPACE}>',
    escape_named,
    lambda key: quote_plus(key, safe="/*-._"),
    (
        *("Key", "LastModified", "ETag", "ChecksumAlgorithm", "ChecksumType", "Size"),
        *("Owner", "StorageClass", "RestoreStatus"),
    ),
    (
        *("Name", "Prefix", "NextContinuationToken", "KeyCount", "MaxKeys", "EncodingType"),
        *("IsTruncated", "Contents", "CommonPrefixes"),
    ),
)
RGW = Dialect(
    "Ceph RGW",
    f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult {NAMESPACE}>',
    escape_named,
    lambda key: quote(key, safe="-_.~'"),
    ("Key", "LastModified", "ETag", "Size", "StorageClass", "Owner"),
    (
        *("EncodingType", "Name", "Prefix", "MaxKeys", "IsTruncated", "CommonPrefixes"),
        *("Contents", "NextContinuationToken", "KeyCount"),
    ),
    extra="<Type>Normal</Type>",
)
MINIO = Dialect(
    "MinIO",
    f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {NAMESPACE}>',
    escape_as_go,
    lambda key: quote_plus(key, safe="/-_.*"),
    ("Key", "LastModified", "ETag", "Size", "Owner", "StorageClass", "ChecksumAlgorithm"),
    (
        *("Name", "Prefix", "NextContinuationToken", "KeyCount", "MaxKeys", "IsTruncated"),
        *("Contents", "CommonPrefixes", "EncodingType"),
    ),
)
MOTO = Dialect(
    "moto",
    f'<?xml version="1.0" encoding="utf-8"?>\n<ListBucketResult {NAMESPACE}>',
    escape_least,
    lambda key: quote(key, safe="/"),
    ("Key", "LastModified", "ETag", "ChecksumAlgorithm", "Size", "StorageClass", "Owner"),
    (
        *("IsTruncated", "Contents", "Name", "Prefix", "MaxKeys", "CommonPrefixes"),
        *("EncodingType", "KeyCount", "NextContinuationToken"),
    ),
    empty="<Prefix/>",
)
DIALECTS = (AWS, RGW, MINIO, MOTO)

FULL = Entry(
    "a/b c+d=é.avro",
    checksums=("CRC64NVME",),
    checksum_type="FULL_OBJECT",
    owner=("75aa57f0", "web & file"),
)
RESTORED = replace(FULL, restore=(False, "2025-01-02T00:00:00.000Z"))


# --- strategies -----------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
xml_text = st.text(
    st.characters(
        exclude_categories=["Cs"],
        exclude_characters=[*map(chr, {*range(32)} - {9, 10, 13}), "\ufffe", "\uffff"],
    ),
    max_size=20,
)
ascii_text = st.text(st.sampled_from("abz019/=._-+% &<>\"'~;#x\\"), max_size=20)
timestamps = st.datetimes().map(
    lambda when: when.replace(year=1970 + when.year % 100 if when.day < 29 else 2024)
)
modified = st.builds(
    lambda when, form: when.isoformat(timespec=form) + "Z",
    timestamps,
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)


def entries(keys: st.SearchStrategy[str], owned: bool) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        key=keys,
        modified=modified,
        etag=st.sampled_from(['"d41d8cd98f00b204e9800998ecf8427e-12"', "abc", '"', '"a&b"', "é"]),
        size=st.integers(0, 10**15),
        storage_class=st.sampled_from(["STANDARD", "GLACIER", None, "a<b"]),
        checksums=st.sampled_from([(), ("CRC32",), ("CRC64NVME",), ("SHA1", "SHA256")]),
        checksum_type=st.sampled_from([None, "FULL_OBJECT", "COMPOSITE"]),
        owner=st.tuples(ascii_text, xml_text) if owned else st.none(),
    )


@st.composite
def listings(draw: st.DrawFn, alike: bool = False) -> Listing:
    url = draw(st.booleans())
    keys = any_text | ascii_text if url else xml_text | ascii_text
    alternatives = entries(keys, owned=draw(st.booleans()))
    if alike:
        template = draw(alternatives)
        found = [
            Entry(**{**template.__dict__, "key": key})
            for key in draw(st.lists(ascii_text, max_size=6))
        ]
    else:
        found = draw(st.lists(alternatives, max_size=5))
    return Listing(
        entries=tuple(found),
        prefixes=tuple(draw(st.lists(keys, max_size=4))),
        token=draw(st.none() | ascii_text.filter(bool)),
        url=url,
    )


def infos_of(page: Page, bucket: str, indices: Sequence[int] | None = None) -> list[dict[str, Any]]:
    return page.infos(page.paths(bucket, indices), indices)
