"""Every example of the documentation, run against the demo's endpoint and data; every link.

What is generated has tests of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsspec_avroglob.demo import DemoServer, write_sample_events
from fsspec_avroglob.filesystem import AvroGlobFileSystem
from tests.support.examples import blocks, run_console, run_python, shell_environment

DOCS = Path(__file__).resolve().parents[1] / "docs"
OURS = re.compile(r"pip install 'fsspec-avroglob\[|avroglob |export AWS_")
GENERATED = {"consumers.md", "retries.md", "types.md"}
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.name not in GENERATED and path.parent.name != "performance"
)


# Run by the consumers' tests, which have the libraries.
ELSEWHERE = {"ray.md"}


def pages_with(language: str) -> list[object]:
    return [
        pytest.param(path, id=str(path.relative_to(DOCS)))
        for path in PAGES
        if path.name not in ELSEWHERE and blocks(path.read_text(), language)
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer() as running:
        write_sample_events({**running.storage_options, "skip_instance_cache": True})
        yield running


@pytest.fixture(autouse=True)
def _every_page_has_instances_of_its_own() -> Iterator[None]:
    AvroGlobFileSystem.clear_instance_cache()
    yield
    AvroGlobFileSystem.clear_instance_cache()


@pytest.mark.parametrize("path", pages_with("python"))
def test_python_examples_give_what_they_say(server: DemoServer, path: Path) -> None:
    run_python(path, server.endpoint_url)


@pytest.mark.parametrize("path", pages_with("console"))
def test_console_examples_print_what_they_show(
    server: DemoServer, tmp_path: Path, path: Path
) -> None:
    run_console(path, shell_environment(server, tmp_path), tmp_path)


def test_every_block_has_a_language_that_is_tested() -> None:
    for path in PAGES:
        text = path.read_text()
        known = blocks(text, "python", "console", "sh", "text", "toml", "json")
        assert text.count("```") == 2 * len(known), path.name


def test_shell_blocks_are_commands_of_this_project() -> None:
    for path in PAGES:
        for block in blocks(path.read_text(), "sh"):
            for line in block.text.splitlines():
                assert OURS.match(line), line


def test_links_inside_the_documentation_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", sorted((DOCS / "performance").glob("*.md")), ids=lambda p: p.stem)
def test_pages_of_figures_say_what_measures_them(path: Path) -> None:
    assert f"python -m benchmarks {path.stem}" in path.read_text()


def test_plots_are_shown_on_a_page() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "performance").glob("*.md"))
    shown = re.findall(r"!\[[^\]]+\]\((.+?)\)", pages)
    assert sorted(shown) == sorted(path.name for path in (DOCS / "performance").glob("*.svg"))


def test_the_drawing_of_a_plan_is_that_of_the_demo_s_data(server: DemoServer) -> None:
    fs = AvroGlobFileSystem(**server.storage_options)
    plan = fs.explain("demo/events/year=*/month=0[1-2]/*/*.avro", run=True)
    assert (DOCS / "explanation" / "plan.svg").read_text() == plan.to_svg()
