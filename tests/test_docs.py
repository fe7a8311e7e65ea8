"""The code in docs/guide.md runs, and prints what is shown."""

from __future__ import annotations

import re
from pathlib import Path

from fsspec_avroglob.demo import DemoServer, write_sample_events

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"


def test_the_plan_in_the_guide_is_what_explain_prints() -> None:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    [shown] = re.findall(r"```text\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    printed: list[str] = []

    with DemoServer() as server:
        write_sample_events(server.storage_options)
        exec(
            code.replace("http://127.0.0.1:5555", server.endpoint_url),
            {"print": lambda value: printed.append(str(value))},
        )

    assert "\n".join(printed) == shown.rstrip("\n")
