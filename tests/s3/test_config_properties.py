"""Any storage options mean the same in any spelling, as text, and after a copy."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.s3.config import ALIASES, S3Config

config = S3Config.from_storage_options


def observed(config: S3Config) -> Any:
    """All that a configuration holds, in a form that compares."""
    return config, config.s3fs_options()


typed_options = st.fixed_dictionaries(
    {},
    optional={
        "endpoint_url": st.sampled_from(["http://h:1", "https://s3.example"]),
        "key": st.text(min_size=1, max_size=5),
        "secret": st.text(min_size=1, max_size=5),
        "token": st.text(min_size=1, max_size=5),
        "region": st.sampled_from(["us-east-1", "eu-west-1"]),
        "anon": st.booleans(),
        "requester_pays": st.booleans(),
        "use_ssl": st.booleans(),
        "version_aware": st.booleans(),
        "max_concurrency": st.integers(1, 99),
        "max_paths": st.integers(1, 99),
        "listing_concurrency": st.integers(1, 99),
        "listings_expiry_time": st.floats(0, 1e6),
        "max_retries": st.integers(0, 99),
    },
)


@given(typed_options)
def test_values_mean_same_as_text(options: dict[str, Any]) -> None:
    as_text = {name: str(value) for name, value in options.items()}

    assert observed(config(as_text)) == observed(config(options))


@given(typed_options, st.data())
def test_names_in_any_spelling(options: dict[str, Any], data: st.DataObject) -> None:
    renamed = {}
    for name, value in options.items():
        spelling = data.draw(st.sampled_from([name, *ALIASES.get(name, ())]))
        renamed[data.draw(st.sampled_from([spelling, spelling.upper()]))] = value

    assert observed(config(renamed)) == observed(config(options))


@given(typed_options)
def test_s3fs_options_round_trip(options: dict[str, Any]) -> None:
    first = config(options)
    own = {"retry": first.retry, "listing_concurrency": first.listing_concurrency}
    again = config({**first.s3fs_options(), **own})

    assert again.s3fs_options() == first.s3fs_options()


@given(typed_options)
def test_configuration_pickles(options: dict[str, Any]) -> None:
    first = config(options)

    assert pickle.loads(pickle.dumps(first)) == first
