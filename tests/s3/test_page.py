"""`parse_page` decodes each page that it accepts as botocore's parser does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.s3.entries import UnrecognizedPage
from fsspec_avroglob.s3.page import page_from_response, parse_page
from tests.support.dialects import (
    AWS,
    DIALECTS,
    FULL,
    RESTORED,
    Dialect,
    Entry,
    Listing,
    element,
    infos_of,
    listings,
)
from tests.support.reference_pages import botocore_response, is_read_like_botocore, s3fs_infos

many = settings(max_examples=150)
some = settings(max_examples=60)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


# --- known dialects -------------------------------------------------------------------------------


@each_dialect
@some
@given(listing=listings(alike=True))
def test_equal_entries_are_accepted(dialect: Dialect, listing: Listing) -> None:
    assert is_read_like_botocore(dialect.render(listing))


@each_dialect
@some
@given(listing=listings())
def test_unequal_entries_are_accepted(dialect: Dialect, listing: Listing) -> None:
    assert is_read_like_botocore(dialect.render(listing))


@each_dialect
@pytest.mark.parametrize("url", [True, False])
def test_empty_page_has_no_entries(dialect: Dialect, url: bool) -> None:
    body = dialect.render(Listing(entries=(), url=url))

    page = parse_page(body)

    assert is_read_like_botocore(body)
    assert (page.keys, page.prefixes, page.next_token, page.key_count) == ([], [], None, 0)
    assert infos_of(page, "b") == []


def test_two_forms_keep_their_order() -> None:
    found = [Entry(f"part-{i}", size=i, checksums=("CRC32",) if i % 3 else ()) for i in range(1000)]
    body = AWS.render(Listing(tuple(found), prefixes=tuple(f"d{i}/" for i in range(100))))

    page = parse_page(body)

    assert page.keys == [entry.key for entry in found]
    assert page.key_count == 1100
    assert [info["size"] for info in infos_of(page, "b")] == list(range(1000))
    assert is_read_like_botocore(body)


def test_repeated_keys_keep_fields() -> None:
    found = (Entry("k", size=1), Entry("k", size=2, checksums=("CRC32",)), Entry("k", size=3))

    page = parse_page(AWS.render(Listing(found)))

    assert page.keys == ["k", "k", "k"]
    assert [info["size"] for info in infos_of(page, "b")] == [1, 2, 3]
    assert [info["size"] for info in infos_of(page, "b", [1])] == [2]


def test_server_pages_are_accepted(endpoint: Any, bucket: str, put: Any) -> None:
    put({key: b"x" for key in ("a b+c", "d/x&y<z>", "d/é☃😀", "e%20f", "g='h'", 'i"j')})
    client, bodies = endpoint.client(), []
    client.meta.events.register_first(
        "before-parse.s3.ListObjectsV2",
        lambda response_dict, **_: bodies.append(response_dict["body"]),
    )

    client.list_objects_v2(Bucket=bucket)
    client.list_objects_v2(Bucket=bucket, Delimiter="/", FetchOwner=True)
    client.list_objects_v2(Bucket=bucket, MaxKeys=2)
    client.list_objects_v2(Bucket=bucket, Prefix="none")

    assert [is_read_like_botocore(body) for body in bodies] == [True] * 4
    assert parse_page(bodies[2]).next_token


CEPH_PAGE = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult '
    b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>'
    b"<Name>bucket</Name><Prefix></Prefix><MaxKeys>3</MaxKeys><Delimiter>/</Delimiter>"
    b"<IsTruncated>true</IsTruncated><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"
    b"<Contents><Key>a%20b%2Bc.txt</Key><LastModified>2026-11-23T04:45:18.248Z</LastModified>"
    b"<ETag>&quot;aba369f7d2b28a9098a0a26feb7dc965&quot;</ETag><Size>9</Size>"
    b"<StorageClass>STANDARD</StorageClass><Owner><ID>me</ID><DisplayName>me</DisplayName></Owner>"
    b"<Type>Normal</Type></Contents><Contents><Key>d%2Fx%26y%3Cz%3E%22q&apos;</Key>"
    b"<LastModified>2026-11-23T04:45:18.262Z</LastModified>"
    b"<ETag>&quot;dcb740b2c2836cb11f707d63e6ac664f&quot;</ETag><Size>11</Size>"
    b"<StorageClass>STANDARD</StorageClass><Owner><ID>me</ID><DisplayName>me</DisplayName></Owner>"
    b"<Type>Normal</Type></Contents><NextContinuationToken>d/x&amp;y&lt;z&gt;&quot;q&apos;"
    b"</NextContinuationToken><KeyCount>3</KeyCount></ListBucketResult>"
)


def test_ceph_page_is_accepted() -> None:
    page = parse_page(CEPH_PAGE)

    assert is_read_like_botocore(CEPH_PAGE)
    assert page.keys == ["a b+c.txt", "d/x&y<z>\"q'"]
    assert page.next_token == "d/x&y<z>\"q'"


# --- other forms ----------------------------------------------------------------------------------

FIELDS = (
    *("<Key>a%2Bb</Key>", "<Key/>", "<Key>a&amp;b</Key>", "<Size>1</Size>", "<Size>02</Size>"),
    *("<Size/>", "<Size> 1</Size>", "<Size>-1</Size>", "<LastModified>now</LastModified>"),
    *("<LastModified>2024-02-29T00:00:00Z</LastModified>", "<LastModified/>", "<ETag/>"),
    *("<LastModified>2023-02-29T00:00:00Z</LastModified>", "<ETag>&quot;&quot;</ETag>"),
    *("<LastModified>2024-02-29T00:00:00+01:00</LastModified>", "<ETag>&quot;</ETag>"),
    *(
        "<ETag>&quot;a&#34;</ETag>",
        "<ETag>&nbsp;</ETag>",
        "<ETag>a]]>b</ETag>",
        "<ETag>&#0;</ETag>",
    ),
    *("<ETag>&#x1F600;&#128512;</ETag>", "<ETag>&#xD800;</ETag>", "<ETag>&#xFFFE;</ETag>"),
    *(
        "<ETag>a\tb\nc</ETag>",
        "<ETag>a\r\nb</ETag>",
        "<ETag><![CDATA[a]]></ETag>",
        "<ETag>é</ETag>",
    ),
    *("<ETag>\x0c</ETag>", "<ETag>\x00</ETag>", "<ETag>\ufffe</ETag>", "<ETag>a&</ETag>"),
    *("<StorageClass />", "<StorageClass\n/>", "<StorageClass x='1'>A</StorageClass>"),
    *("<ChecksumAlgorithm/>", "<ChecksumAlgorithm>A&lt;</ChecksumAlgorithm>"),
    *("<Owner/>", "<Owner></Owner>", "<Owner>x</Owner>", "<Owner><ID/></Owner>"),
    *("<Owner> <ID>1</ID> <ID>2</ID> </Owner>", "<Owner><X>1</X></Owner>", "<Owner><ID>"),
    "<Owner>\n <DisplayName>a&amp;b</DisplayName><X>1</X><X>2</X>\n</Owner>",
    "<Owner><ID>1<Owner><ID>2</ID></Owner></ID></Owner>",
    *("<Owner><Contents>x</Contents></Owner>", "<Owner><Owner>x</Owner></Owner>"),
    "<RestoreStatus><IsRestoreInProgress>True</IsRestoreInProgress></RestoreStatus>",
    "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>",
    *("<RestoreStatus/>", "<Type>x</Type>", "<Type/>", "<Type><Key>x</Key></Type>"),
    *("<a:Type>x</a:Type>", "<Contents>x</Contents>", "<Prefix>p</Prefix>", "<!-- c -->", "text"),
    *("<Contents><Key>n</Key><Size>1</Size></Contents>", "<?pi?>", "\n", "  ", "\x00", "\x01"),
    *("<CommonPrefixes><Prefix>n</Prefix></CommonPrefixes>", "</Contents>", "<Contents>"),
)
TOP_LEVEL = (
    *("<IsTruncated>false</IsTruncated>", "<IsTruncated>False</IsTruncated>", "<MaxKeys/>"),
    *("<IsTruncated>true</IsTruncated>", "<MaxKeys>x</MaxKeys>", "<KeyCount>3</KeyCount>"),
    "<NextContinuationToken>a+b%2F&amp;</NextContinuationToken>",
    *("<EncodingType>url</EncodingType>", "<EncodingType/>", "<EncodingType>x</EncodingType>"),
    *("<Delimiter>/</Delimiter>", "<Delimiter/>", "<Marker/>", "<X>1</X>", "<X><Y/></X>"),
    *("<Contents/>", "<CommonPrefixes/>", "<CommonPrefixes></CommonPrefixes>", "text", "\x00"),
    "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>",
    "<CommonPrefixes>\n <Prefix>a%2F</Prefix> </CommonPrefixes>",
    "<CommonPrefixes><Prefix>a/</Prefix><Prefix>b/</Prefix></CommonPrefixes>",
    *("<Error><Code>SlowDown</Code></Error>", "<!-- c -->", "\n\t", "\r\n", "&amp;", "\x01"),
    *("<Prefix>a&lt;</Prefix>", "<Prefix/>", "<StartAfter>&bad;</StartAfter>"),
)
PROLOGS = (
    *("<ListBucketResult>", "<ListBucketResult xmlns='urn:x'>", " \n<ListBucketResult>"),
    *("<?xml version='1.0'?><ListBucketResult>", " <?xml version='1.0'?><ListBucketResult>"),
    '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<ListBucketResult>',
    '<?xml version="1.0" encoding="latin-1"?><ListBucketResult>',
    "<?xml version=\"1.0'?><ListBucketResult>",
    '<!DOCTYPE x [<!ENTITY e "eeee">]><ListBucketResult>',
    '<ListBucketResult xmlns="http://www.w3.org/2000/xmlns/">',
    *("\ufeff<ListBucketResult>", "<Error>", "<ListBucketResult", "<x:ListBucketResult>", ""),
)


@st.composite
def odd_pages(draw: st.DrawFn) -> bytes:
    """Pages of parts in any order, some of them missing, repeated or wrong."""

    def contents(optional: list[str]) -> str:
        parts = draw(st.permutations(["<Key>k%20</Key>", "<Size>1</Size>", *optional]))
        space = draw(st.sampled_from(["", "", "\n  ", "\r\n"]))
        return element("Contents", space.join(["", *parts, ""]))

    optional = st.lists(st.sampled_from(FIELDS), max_size=2)
    parts = [contents(draw(optional)) for _ in range(draw(st.integers(0, 3)))]
    parts += draw(st.lists(st.sampled_from(TOP_LEVEL), max_size=3))
    if draw(st.booleans()):
        parts += ["<IsTruncated>false</IsTruncated>", "<EncodingType>url</EncodingType>"]
    prolog = draw(st.just(PROLOGS[0]) | st.sampled_from(PROLOGS))
    space = draw(st.sampled_from(["", "", "\n"]))
    page = space.join([prolog, *draw(st.permutations(parts)), "</ListBucketResult>"])
    return (page + draw(st.sampled_from(["", "", "\n", "x", "<a/>"]))).encode()


@settings(many, max_examples=600)
@given(body=odd_pages())
def test_odd_page_is_rejected_or_equal(body: bytes) -> None:
    is_read_like_botocore(body)


@each_dialect
@many
@given(data=st.data())
def test_damaged_is_rejected_or_equal(dialect: Dialect, data: st.DataObject) -> None:
    found = (FULL, Entry("k2"), Entry("k&3", checksums=("CRC32", "SHA1")), Entry("k2"))
    url = data.draw(st.booleans())
    body = dialect.render(Listing(found, prefixes=("p/", "q/"), token="a&b", url=url))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = min(len(body), start + data.draw(st.integers(0, 60) | st.integers(0, len(body))))
        piece = body[start:end]
        splinter = st.sampled_from([b"<", b">", b"&", b"]]>", b"\0", b"\1", b"\r", b"\xff", b"%"])
        flipped = (
            bytes([piece[0] ^ 1 << data.draw(st.integers(0, 7))]) + piece[1:] if piece else b""
        )
        new = data.draw(st.sampled_from([b"", piece * 2, piece[::-1], flipped]) | splinter)
        body = body[:start] + new + body[end:]

    is_read_like_botocore(body)


@each_dialect
def test_cut_page_is_rejected(dialect: Dialect) -> None:
    body = dialect.render(Listing((FULL, Entry("k")), prefixes=("p/",), token="t"))

    for end in range(len(body)):
        with pytest.raises(UnrecognizedPage):
            parse_page(body[:end])


@each_dialect
def test_fields_come_in_any_order(dialect: Dialect) -> None:
    fields = list(dialect.entry(FULL, url=True).values())
    page = element("ListBucketResult", "<IsTruncated>false</IsTruncated>{}")

    for shift in range(len(fields)):
        moved = "".join(fields[shift:] + fields[:shift])
        assert is_read_like_botocore(page.format(element("Contents", moved)).encode())
    for field in fields:
        rest = "".join(other for other in fields if other != field)
        required = field.startswith(("<Key>", "<Size>"))
        body = page.format(element("Contents", rest)).encode()
        if required:
            with pytest.raises(UnrecognizedPage, match="missing"):
                parse_page(body)
        else:
            assert is_read_like_botocore(body)


@each_dialect
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</Size>", "</Size>\r\n"),
        ("<StorageClass>", "<StorageClass>&#x41;"),
        ("<ETag>", "<ETag>&eacute;"),
        ("</Contents>", "<RestoreStatus></RestoreStatus></Contents>"),
        ("</Contents>", "</Contents>text"),
        ("</Contents>", "</Contents><CommonPrefixes></CommonPrefixes>"),
        ("</Contents>", "</Contents><Contents/>"),
    ],
)
def test_unusual_page_is_botocores(dialect: Dialect, old: str, new: str) -> None:
    body = dialect.render(Listing((FULL, Entry("k"), Entry("l")), prefixes=("p/",)))

    assert is_read_like_botocore(body)
    assert not is_read_like_botocore(body.replace(old.encode(), new.encode()))


def test_restored_entry_is_botocores() -> None:
    body = AWS.render(Listing((RESTORED,)))

    assert not is_read_like_botocore(body)
    response = botocore_response(body)
    assert infos_of(page_from_response(response), "b") == s3fs_infos(response, "b")


def test_indented_pages_are_accepted() -> None:
    body = AWS.render(Listing((FULL, Entry("k"), Entry("l")), prefixes=("p/", "q/")))
    body = body.replace(b"<Prefix></Prefix>", b"<Prefix/>")

    assert is_read_like_botocore(body.replace(b"><", b">\n    <"))
    assert is_read_like_botocore(body.replace(b"><", b">\n\t<") + b"\n")


def test_unknown_entry_is_rejected() -> None:
    found = "".join(
        element("Contents", f"<Key>k</Key><Size>1</Size><X{i}/>".replace("/>", f">{i}</X{i}>"))
        for i in range(20)
    )

    with pytest.raises(UnrecognizedPage, match="different forms"):
        parse_page(
            f"<ListBucketResult>{found}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()
        )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe<\0",
        b"<Error><Code>SlowDown</Code></Error>",
        b"<html><body>503</body></html>",
        b"<ListBucketResult/>",
        b"<ListBucketResult></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b'<!DOCTYPE a [<!ENTITY b "cc">]><ListBucketResult><IsTruncated>false</IsTruncated>'
        b"<Contents><Key>&b;</Key><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key><![CDATA[k]]></Key>"
        b"<Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult><!-- -->",
    ],
)
def test_other_documents_are_rejected(body: bytes) -> None:
    with pytest.raises(UnrecognizedPage):
        parse_page(body)


@pytest.mark.parametrize(
    "piece",
    [
        *("<Contents>", "<Contents><Key>", "<Contents><Key>k</Key><Size>1</Size>", "<Key>k</Key>"),
        *("&amp;", "&#", " ", "<", "<a>", "<a/>", "</Contents>", "0", "\0", "<CommonPrefixes>"),
        "<Contents><Key>k</Key><Size>1</Size></Contents><Contents><Key>k</Key><Size>x</Size>",
    ],
)
def test_hostile_input_is_rejected(piece: str) -> None:
    for around in ("{}", "<Contents><Key>{}</Key></Contents>", "<Prefix>{}"):
        inside = around.format(piece * 50_000)
        for detail in (False, True):
            with pytest.raises(UnrecognizedPage):
                parse_page(f"<ListBucketResult>{inside}</ListBucketResult>".encode(), detail=detail)


def test_many_references_are_read() -> None:
    key = "&" * 300_000

    assert parse_page(AWS.render(Listing((Entry(key),), url=False))).keys == [key]
