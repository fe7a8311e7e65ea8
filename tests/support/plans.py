"""Plans of patterns below one bucket."""

from __future__ import annotations

from hypothesis import assume

from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import ListingPlan, State


def plan_for(text: str, maxdepth: int | None = None, with_directories: bool = True) -> ListingPlan:
    """The plan of a pattern without its bucket."""
    pattern = GlobPattern.parse(f"bucket/{text}")
    [plan] = ListingPlan.for_pattern(pattern, maxdepth=maxdepth, with_directories=with_directories)
    return plan


def parsed(text: str, maxdepth: int | None = None) -> ListingPlan:
    """The plan; rejects the hypothesis example if the generated text is not valid."""
    try:
        return plan_for(text, maxdepth)
    except ValueError:
        assume(False)
        raise


def state_at(plan: ListingPlan, path: str) -> State:
    """The state of the directory *path* ("" or ending in ``/``) below the bucket."""
    state = plan.root
    for depth, name in enumerate(path.split("/")[:-1], start=1):
        state = plan.enter(state, name, depth)
    return state
