"""Telling a file that is closed by a failure from one that is closed in spite of one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from fsspec_avroglob.filesystem.unwinding import unwinding


class Probe(io.BytesIO):
    """A file that remembers whether a failure closed it."""

    def __init__(self, before: BaseException | None = None) -> None:
        super().__init__()
        self.before = before
        self.failed: bool | None = None

    def close(self) -> None:
        if self.failed is None:
            self.failed = unwinding(self.before) is not None
        super().close()


class Unexpected(Exception):
    """The error of these tests."""


def by_text(probe: Probe) -> None:
    with io.TextIOWrapper(probe) as file:
        file.write("half")
        raise Unexpected


def by_finally(probe: Probe) -> None:
    try:
        raise Unexpected
    finally:
        if probe is not None:
            for file in [probe]:
                file.close()


def by_bare_reraise(probe: Probe) -> None:
    try:
        raise Unexpected
    except Unexpected:
        probe.close()
        raise


def by_another_error(probe: Probe) -> None:
    try:
        raise ValueError
    except ValueError as error:
        probe.close()
        raise Unexpected from error


def by_stack(probe: Probe) -> None:
    with ExitStack() as stack:
        stack.enter_context(io.TextIOWrapper(probe))
        raise Unexpected


def by_generator(probe: Probe) -> None:
    @contextmanager
    def opened() -> Iterator[None]:
        with io.BufferedWriter(probe):  # type: ignore[arg-type]
            yield

    with opened():
        raise Unexpected


def by_helper(probe: Probe) -> None:
    def clean_up() -> None:
        with suppress(KeyError):
            {}["missing"]
        probe.close()

    try:
        raise Unexpected
    finally:
        clean_up()


def without_traceback(probe: Probe) -> None:
    error = Unexpected()
    try:
        raise error
    finally:
        error.with_traceback(None)
        probe.close()


FAILING = [
    by_text,
    by_finally,
    by_bare_reraise,
    by_another_error,
    by_stack,
    by_generator,
    by_helper,
    without_traceback,
]


@pytest.mark.parametrize("block", FAILING)
def test_failing_blocks_are_seen(block: Callable[[Probe], None]) -> None:
    probe = Probe()

    with pytest.raises(Unexpected):
        block(probe)

    assert probe.failed is True


def in_peace(probe: Probe) -> None:
    probe.close()


def at_the_end_of_data(probe: Probe) -> None:
    rows = iter([b"row"])
    while True:
        try:
            probe.write(next(rows))
        except StopIteration:
            probe.close()
            break


def with_a_name(probe: Probe) -> None:
    try:
        raise Unexpected
    except Unexpected as error:
        probe.write(repr(error).encode())
        probe.close()


def on_one_path(probe: Probe) -> None:
    try:
        raise Unexpected
    except Unexpected:
        probe.close()
        if probe.before is not None:
            raise


def in_a_handler_that_returns(probe: Probe) -> None:
    try:
        raise Unexpected
    except Unexpected:
        with io.TextIOWrapper(probe) as file:
            file.write("whole")
        return


def after_the_handler(probe: Probe) -> None:
    try:
        raise Unexpected
    except Unexpected:
        pass
    finally:
        probe.close()


COMPLETE = [
    in_peace,
    at_the_end_of_data,
    with_a_name,
    on_one_path,
    in_a_handler_that_returns,
    after_the_handler,
]


@pytest.mark.parametrize("block", COMPLETE)
def test_complete_files_are_seen(block: Callable[[Probe], None]) -> None:
    probe = Probe()

    block(probe)

    assert probe.failed is False


def test_earlier_errors_do_not_count() -> None:
    reports: list[Probe] = []

    def fail() -> None:
        try:
            raise Unexpected
        except Unexpected as error:
            reports.append(Probe(before=error))
            reports[0].close()
            raise

    with pytest.raises(Unexpected):
        fail()
    assert reports[0].failed is False


def test_outer_errors_do_not_count() -> None:
    reports: list[Probe] = []

    def fail() -> None:
        try:
            raise Unexpected
        except Unexpected:
            try:
                raise ValueError
            except ValueError as inner:
                reports.append(Probe(before=inner))
            reports[0].close()
            raise

    with pytest.raises(Unexpected):
        fail()
    assert reports[0].failed is False
