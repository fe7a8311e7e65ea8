"""Storage options: every spelling, what contradicts, and what s3fs gets."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import pytest
import s3fs

from fsspec_avroglob.s3.config import ALIASES, S3Config, known_options, overlay
from fsspec_avroglob.s3.retry import RetryPolicy

KEY, SECRET, TOKEN = "AKIA-visible-nowhere", "s3cr3t-visible-nowhere", "t0ken-visible-nowhere"
CREDENTIALS = {"key": KEY, "secret": SECRET, "token": TOKEN}

SPELLINGS = [(name, alias) for name, aliases in ALIASES.items() for alias in (name, *aliases)]

VALUES: Mapping[str, tuple[Any, Any]] = {
    "endpoint_url": ("http://one:9000", "http://two:9000"),
    **{name: (value, value + "-2") for name, value in CREDENTIALS.items()},
    "region": ("eu-west-1", "us-east-2"),
    "anon": (True, False),
    "profile": ("work", "home"),
    "requester_pays": (True, False),
    "virtual_hosted_style_request": (True, False),
    "allow_http": (True, False),
}
"""For each option that has aliases, two different values."""


def config(options: Mapping[str, Any] | None = None, /, **more: Any) -> S3Config:
    return S3Config.from_storage_options({**(options or {}), **more})


def observed(config: S3Config) -> Any:
    """All that a configuration holds, in a form that compares."""
    return config, config.s3fs_options()


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
def test_each_name_sets_the_option(name: str, spelling: str) -> None:
    value, other = VALUES[name]

    expected = observed(config({name: value}))

    assert observed(config({spelling: value})) == expected
    assert observed(config({spelling.upper(): value})) == expected
    assert observed(config({spelling: other})) != expected or name == "allow_http"


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"AWS_ENDPOINT_URL": "http://h"}, "endpoint_url", "http://h"),
        ({"aws_endpoint": "http://h"}, "endpoint_url", "http://h"),
        ({"AWS_ACCESS_KEY_ID": KEY}, "key", KEY),
        ({"username": KEY}, "key", KEY),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "secret", SECRET),
        ({"password": SECRET}, "secret", SECRET),
        ({"AWS_SESSION_TOKEN": TOKEN}, "token", TOKEN),
        ({"AWS_REGION": "eu-west-1"}, "region", "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "region", "eu-west-1"),
        ({"aws_skip_signature": "true"}, "anon", True),
        ({"AWS_PROFILE": "work"}, "profile", "work"),
        ({"max_retries": "5"}, "max_retries", 5),
        ({"listing_concurrency": "8"}, "listing_concurrency", 8),
    ],
)
def test_other_tools_names_work(options: dict[str, Any], field: str, value: object) -> None:
    assert getattr(config(options), field) == value


def test_nothing_given_is_default() -> None:
    assert S3Config.from_storage_options() == S3Config()
    assert S3Config.from_storage_options(None) == S3Config.from_storage_options({})
    assert S3Config().max_retries == 2
    assert S3Config().retry == RetryPolicy()


def test_none_is_not_given() -> None:
    assert config(key=None, aws_access_key_id=KEY, endpoint_url=None).key == KEY


def test_s3fs_options_are_known() -> None:
    parameters = set(inspect.signature(s3fs.S3FileSystem.__init__).parameters)

    assert parameters - {"self", "kwargs"} <= known_options()


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("max_retry", "max_retries"),
        ("endpont_url", "endpoint_url"),
        ("acces_key_id", "access_key_id"),
        ("AWS_SECRET_ACCES_KEY", "aws_secret_access_key"),
        ("client_kwarg", "client_kwargs"),
        ("listing_concurency", "listing_concurrency"),
    ],
)
def test_unknown_name_suggests(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown storage option '{wrong}'.*'{meant}'"):
        config({wrong: "x"})


def test_unlike_name_suggests_nothing() -> None:
    with pytest.raises(ValueError, match=r"^unknown storage option 'qqqqqqqq'$"):
        config(qqqqqqqq=1)


@pytest.mark.parametrize("name", [1, None, ("key",)])
def test_name_must_be_text(name: Any) -> None:
    with pytest.raises(ValueError, match="unknown storage option"):
        S3Config.from_storage_options({name: 1})


@pytest.mark.parametrize("name", ["self", "args", "kwargs", "others"])
def test_parameter_names_are_not_options(name: str) -> None:
    with pytest.raises(ValueError, match="unknown storage option"):
        S3Config.from_storage_options({name: 1})


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on", " true ", True, 1])
def test_true_in_any_spelling(text: Any) -> None:
    assert config(anon=text).anon is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off", "", False, 0])
def test_false_in_any_spelling(text: Any) -> None:
    assert config(anon=text).anon is False


@pytest.mark.parametrize("name", ["anon", "use_ssl", "asynchronous", "requester_pays"])
def test_other_booleans_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='perhaps'"):
        config({name: "perhaps"})


def test_requester_pays_in_any_spelling() -> None:
    assert config(request_payer="requester").others["requester_pays"] is True


@pytest.mark.parametrize("name", ["max_concurrency", "default_block_size", "max_paths"])
def test_whole_numbers_may_be_text(name: str) -> None:
    assert config({name: "12"}).s3fs_options()[name] == 12


def test_times_may_be_text() -> None:
    assert config(listings_expiry_time="1.5").others["listings_expiry_time"] == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_concurrency", "many"),
        ("max_concurrency", 1.5),
        ("max_concurrency", True),
        ("max_paths", float("inf")),
        ("default_block_size", [1]),
        ("listings_expiry_time", "soon"),
        ("listings_expiry_time", "nan"),
        ("listing_concurrency", 0),
        ("listing_concurrency", "few"),
        ("max_retries", -1),
        ("max_retries", "few"),
        ("max_retries", True),
        ("retry", "often"),
        ("retry", {"jitter": 2}),
        ("retry", {"max_retry": 2}),
        ("client_kwargs", "region_name"),
        ("config_kwargs", "signature_version"),
    ],
)
def test_invalid_value_is_named(name: str, value: object) -> None:
    names = {"retry": "max_retries|jitter|max_retry"}
    with pytest.raises(ValueError, match=names.get(name, name)):
        config({name: value}).s3fs_options()


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ({"max_retries": "5"}, RetryPolicy(max_retries=5)),
        ({"retry": 5}, RetryPolicy(max_retries=5)),
        ({"retry": {"base_delay": "0.5"}}, RetryPolicy(base_delay=0.5)),
        ({"retry": {"jitter": 0}, "max_retries": 5}, RetryPolicy(max_retries=5, jitter=0)),
        ({"retry": RetryPolicy(timeout=9)}, RetryPolicy(timeout=9)),
        ({"retry": {"max_retries": "3"}, "max_retries": 3}, RetryPolicy(max_retries=3)),
        ({"retry": RetryPolicy(max_retries=3), "max_retries": "3"}, RetryPolicy(max_retries=3)),
    ],
)
def test_retry_policy_from_options(options: dict[str, Any], policy: RetryPolicy) -> None:
    assert config(options).retry == policy


def test_plain_http_can_be_forbidden() -> None:
    with pytest.raises(ValueError, match="allow_http is false, but endpoint_url='http://h'"):
        config(endpoint="http://h", allow_http="false")
    assert config(endpoint="https://h", allow_http="false").endpoint_url == "https://h"


# --- contradictions -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
def test_contradiction_names_both_options(name: str) -> None:
    one, other = VALUES[name]
    alias = ALIASES[name][0]

    with pytest.raises(ValueError, match="different values") as caught:
        config({name: one, alias: other})

    assert name in str(caught.value)
    assert alias in str(caught.value)
    assert not any(secret in str(caught.value) for secret in CREDENTIALS.values())


@pytest.mark.parametrize(("name", "alias"), SPELLINGS)
def test_equal_values_agree(name: str, alias: str) -> None:
    value, _ = VALUES[name]

    assert observed(config({name: value, alias: value})) == observed(config({name: value}))


def test_equal_values_agree_in_any_form() -> None:
    assert config(anon="yes", skip_signature=True).anon is True
    assert config(endpoint="http://h/", endpoint_url="http://h").endpoint_url is not None


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("endpoint_url", "endpoint_url"),
        ("key", "aws_access_key_id"),
        ("secret", "aws_secret_access_key"),
        ("token", "aws_session_token"),
        ("region", "region_name"),
    ],
)
def test_client_kwargs_may_contradict(name: str, inner: str) -> None:
    one, other = VALUES[name]

    assert getattr(config(client_kwargs={inner: one}), name) == one
    both = config({name: one, "client_kwargs": {inner: one}}).s3fs_options()
    assert both == config({name: one}).s3fs_options()
    with pytest.raises(ValueError, match="different values") as caught:
        config({name: one, "client_kwargs": {inner: other}})
    assert f"client_kwargs['{inner}']" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in CREDENTIALS.values())


def test_retries_may_contradict() -> None:
    with pytest.raises(ValueError, match=r"max_retries=1 .*max_retries=4"):
        config(max_retries=1, retry={"max_retries": 4})
    with pytest.raises(ValueError, match=r"max_retries=1 .*max_retries=4"):
        config(max_retries=1, retry=RetryPolicy(max_retries=4))


# --- what fsspec's configuration says -------------------------------------------------------------


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
def test_options_beat_configuration(name: str, spelling: str) -> None:
    one, other = VALUES[name]

    merged = config(overlay({spelling: one}, {name: other}))

    assert observed(merged) == observed(config({name: one}))


def test_configuration_fills_in() -> None:
    merged = config(overlay({"key": KEY}, {"endpoint": "http://h"}))

    assert (merged.key, merged.endpoint_url) == (KEY, "http://h")


@pytest.mark.parametrize(
    ("given_options", "configured", "winner"),
    [
        ({"endpoint": "http://a"}, {"client_kwargs": {"endpoint_url": "http://b"}}, "http://a"),
        ({"client_kwargs": {"endpoint_url": "http://a"}}, {"endpoint_url": "http://b"}, "http://a"),
    ],
)
def test_client_kwargs_override_too(
    given_options: dict[str, Any], configured: dict[str, Any], winner: str
) -> None:
    merged = config(overlay(given_options, configured))

    assert merged.endpoint_url == winner
    assert "endpoint_url" not in merged.s3fs_options()["client_kwargs"]


@pytest.mark.parametrize("configured", [{"max_retries": 7}, {"retry": {"max_retries": 7}}])
@pytest.mark.parametrize("given_options", [{"max_retries": 3}, {"retry": {"max_retries": 3}}])
def test_retries_beat_configuration(
    given_options: dict[str, Any], configured: dict[str, Any]
) -> None:
    assert config(overlay(given_options, configured)).max_retries == 3


# --- what s3fs gets -------------------------------------------------------------------------------


def test_s3fs_gets_each_option_once() -> None:
    options = config(
        aws_endpoint="http://h",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
        aws_region="eu-west-1",
        client_kwargs={"aws_access_key_id": KEY, "endpoint_url": "http://h", "verify": False},
    ).s3fs_options()

    assert options["client_kwargs"] == {"verify": False, "region_name": "eu-west-1"}
    assert {name: options[name] for name in CREDENTIALS} == CREDENTIALS
    assert options["endpoint_url"] == "http://h"


def test_s3fs_accepts_what_it_gets() -> None:
    options = config(
        anon=True, profile=None, requester_pays=True, max_concurrency=3, use_listings_cache=False
    ).s3fs_options()

    fs = s3fs.S3FileSystem(**options, skip_instance_cache=True)

    assert (fs.anon, fs.max_concurrency, fs.req_kw) == (True, 3, {"RequestPayer": "requester"})


@pytest.mark.parametrize(
    "options", [{}, {"config_kwargs": {"retries": {"max_attempts": 10, "mode": "adaptive"}}}]
)
def test_retries_of_botocore_are_off(options: dict[str, Any]) -> None:
    retries = config(options).s3fs_options()["config_kwargs"]["retries"]

    assert retries == {"total_max_attempts": 1, "mode": "legacy"}


def test_pool_is_large_enough() -> None:
    def pool(**options: Any) -> int:
        size: int = config(options).s3fs_options()["config_kwargs"]["max_pool_connections"]
        return size

    assert pool(listing_concurrency=100) >= 100
    assert pool(max_concurrency=50) >= 50
    assert pool(config_kwargs={"max_pool_connections": 3}) == 3


def test_config_kwargs_pass_through() -> None:
    options = config(config_kwargs={"signature_version": "s3v4"}).s3fs_options()

    assert options["config_kwargs"]["signature_version"] == "s3v4"


@pytest.mark.parametrize(("value", "style"), [("true", "virtual"), (False, "path")])
def test_virtual_hosted_style(value: Any, style: str) -> None:
    options = config(
        virtual_hosted_style_request=value,
        config_kwargs={"s3": {"payload_signing_enabled": True}},
    ).s3fs_options()

    assert options["config_kwargs"]["s3"] == {
        "payload_signing_enabled": True,
        "addressing_style": style,
    }
    assert "virtual_hosted_style_request" not in options


def test_arguments_are_not_changed() -> None:
    options = {
        "client_kwargs": {"endpoint_url": "http://h", "region_name": "eu-west-1"},
        "config_kwargs": {"s3": {}, "retries": {"max_attempts": 3}},
        "virtual_hosted_style_request": True,
        "retry": {"jitter": 0},
        "max_retries": 3,
    }
    before = json.dumps(options)

    config(options).s3fs_options()["client_kwargs"]["mine"] = 1

    assert json.dumps(options) == before


# --- secrets --------------------------------------------------------------------------------------


def test_repr_hides_credentials() -> None:
    shown = repr(config(**CREDENTIALS, client_kwargs={"aws_session_token": TOKEN}))

    assert not any(secret in shown for secret in CREDENTIALS.values())


@pytest.mark.parametrize(
    "options",
    [
        {"secrett": SECRET},
        {"anon": "perhaps"},
        {"aws_secret_access_key": SECRET + "x"},
        {"SECRET": SECRET + "x"},
        {"client_kwargs": {"aws_secret_access_key": SECRET + "x"}},
        {"max_retries": "few"},
        {"retry": object},
    ],
)
def test_error_hides_credentials(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        config({**CREDENTIALS, **options})

    assert not any(secret in str(caught.value) for secret in CREDENTIALS.values())


def test_names_of_botocores_retries() -> None:
    def config(**retries: object) -> S3Config:
        return S3Config.from_storage_options({"config_kwargs": {"retries": retries}})

    assert config(max_attempts=4, mode="adaptive").max_retries == 4
    with pytest.raises(ValueError, match=r"has no 'max_attemps'; it knows total_max_attempts"):
        config(max_attemps=4)


def test_a_mode_without_effect_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "fsspec_avroglob"):
        S3Config.from_storage_options({"config_kwargs": {"retries": {"mode": "standard"}}})
    assert "has no effect" in caplog.text
