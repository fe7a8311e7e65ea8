"""The damages of the page are what they are called, and this package sees all that can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.damage import DAMAGES, READERS, UNSEEN, outcome_of, page, sound_file
from fsspec_avroglob.errors import AvroDecodeError, NotAvroError

OURS = "fsspec-avroglob"


def damaged(tmp_path: Path, damage: str) -> str:
    codec, inflict = DAMAGES[damage]
    path = tmp_path / "x.avro"
    path.write_bytes(inflict(sound_file(codec)))
    return str(path)


def test_sound_file_is_right(tmp_path: Path) -> None:
    assert outcome_of(OURS, damaged(tmp_path, "none")) == "right rows"


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - UNSEEN - {"none"}))
def test_no_loss_is_silent(tmp_path: Path, damage: str) -> None:
    with pytest.raises((AvroDecodeError, NotAvroError), match=r"x\.avro"):
        outcome_of(OURS, damaged(tmp_path, damage))


@pytest.mark.parametrize("damage", sorted(UNSEEN))
def test_what_no_reader_sees_is_said(tmp_path: Path, damage: str) -> None:
    assert "silently" in outcome_of(OURS, damaged(tmp_path, damage))
    assert outcome_of("fastavro", damaged(tmp_path, damage)) == outcome_of(
        OURS, damaged(tmp_path, damage)
    )


def test_page_leaves_out_absent_readers() -> None:
    row = {reader: "error" for reader in READERS} | {"DuckDB": "not installed"}

    text = page({"none": row}, "command")

    assert "Left out: DuckDB (not installed)" in text
    assert text.count("| error ") == len(READERS) - 1
