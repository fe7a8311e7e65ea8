"""Every example of the documentation, run on the demo's data; every link.

What is generated has tests of its own.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsspec_avroglob.cli.demo import DemoServer, sample_objects, write_sample_events
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.config import S3Config
from tests.conftest import new_bucket
from tests.support.examples import (
    SERVED_AT,
    Stage,
    blocks,
    run_console,
    run_python,
    shell_environment,
)
from tests.support.servers import Endpoint

DOCS = Path(__file__).resolve().parents[2] / "docs"
GENERATED = {"consumers.md", "types.md"}
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.name not in GENERATED and path.parent.name != "performance"
)


# Run by the consumers' tests, which have the libraries.
ELSEWHERE = {"ray.md"}

pytestmark = pytest.mark.usefixtures("no_cached_instances")


def pages_with(language: str) -> list[object]:
    return [
        pytest.param(path, id=str(path.relative_to(DOCS)))
        for path in PAGES
        if path.name not in ELSEWHERE and blocks(path.read_text(), language)
    ]


@pytest.fixture(scope="module")
def stage(endpoint: Endpoint) -> Iterator[Stage]:
    with new_bucket(endpoint) as bucket:
        fs = AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)
        fs.pipe({f"{bucket}/{key}": data for key, data in sample_objects()})
        yield Stage(endpoint, bucket)


@pytest.mark.parametrize("path", pages_with("python"))
def test_python_examples_hold(stage: Stage, path: Path) -> None:
    run_python(path, stage)


@pytest.mark.parametrize("path", pages_with("console"))
def test_console_examples_hold(stage: Stage, tmp_path: Path, path: Path) -> None:
    run_console(path, stage, tmp_path)


def test_every_block_is_tested() -> None:
    for path in PAGES:
        text = path.read_text()
        known = blocks(text, "python", "console", "sh", "text", "toml", "json")
        assert text.count("```") == 2 * len(known), path.name


def shell_lines(start: str) -> list[str]:
    found = [block.text for path in PAGES for block in blocks(path.read_text(), "sh")]
    return [line for text in found for line in text.splitlines() if line.startswith(start)]


def test_shell_blocks_are_known() -> None:
    tested = ("pip install ", "export ", "avroglob demo --serve", "avroglob ls --no-sign-request ")
    assert sorted(shell_lines("")) == sorted(
        line for start in tested for line in shell_lines(start)
    )


def test_named_extras_exist() -> None:
    extras = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    for line in shell_lines("pip install "):
        [extra] = re.findall(r"^pip install 'fsspec-avroglob\[(\w+)\]'$", line)
        assert extra in extras["optional-dependencies"]


def test_variables_are_those_of_the_demo() -> None:
    server = DemoServer(port=int(SERVED_AT.rpartition(":")[2]))
    server.endpoint_url = SERVED_AT
    exports = {f"export {name}={value}" for name, value in server.environment.items()}
    assert set(shell_lines("export ")) == exports


def test_public_bucket_needs_no_keys(stage: Stage, tmp_path: Path) -> None:
    [line] = shell_lines("avroglob ls --no-sign-request ")
    stage.endpoint.client().put_bucket_acl(Bucket=stage.bucket, ACL="public-read")
    environment = shell_environment(stage, tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del environment[name]
    command = line.replace("public-bucket", stage.bucket)
    printed = subprocess.check_output(["bash", "-c", command], env=environment, text=True)
    assert f"s3://{stage.bucket}/events/\n" in printed


def test_options_for_other_servers_work() -> None:
    page = (DOCS / "how-to" / "endpoints.md").read_text()
    rows = re.findall(r"^\| .+? \| `(https?://\S+)`.*? \| (.*)\|$", page, re.MULTILINE)
    assert len(rows) == 5
    for url, more in rows:
        named = dict(re.findall(r'(\w+)="(\w+)"', more))
        options = {"endpoint_url": url, "key": "k", "secret": "s", **named}
        config = S3Config.from_storage_options(options)
        assert (config.endpoint_url, config.region) == (url, named.get("region"))


def test_links_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", sorted((DOCS / "performance").glob("*.md")), ids=lambda p: p.stem)
def test_figures_name_their_command(path: Path) -> None:
    assert f"python -m benchmarks {path.stem}" in path.read_text()


def test_plots_are_shown_on_a_page() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "performance").glob("*.md"))
    shown = re.findall(r"!\[[^\]]+\]\((.+?)\)", pages)
    assert sorted(shown) == sorted(path.name for path in (DOCS / "performance").glob("*.svg"))


def test_plan_drawing_is_current() -> None:
    with DemoServer() as server:
        write_sample_events({**server.storage_options, "skip_instance_cache": True})
        fs = AvroGlobFileSystem(**server.storage_options)
        plan = fs.explain("demo/events/year=*/month=0[1-2]/*/*.avro", run=True)
    assert (DOCS / "explanation" / "plan.svg").read_text() == plan.to_svg()
