"""A process dies at a named point, in each case: it starts again, all comes into step, and nothing is wrong."""

import pytest

import processes
import scenes
from points import POINTS
from support.events import MODES


@pytest.fixture(scope="module", autouse=True)
def built_with_faults():
    for program in ("order/order-service", "delivery/delivery-service"):
        assert b"LOCKSTEP_CRASH_AT" in (processes.BUILD / program).read_bytes(), (
            f"{processes.BUILD / program} was built without -DLOCKSTEP_FAULTS=ON")


@pytest.mark.parametrize("case, point", [
    pytest.param(case, point, id=f"{case}-{point.id}") for case in MODES for point in POINTS])
def test_a_crash_does_no_harm(worlds, tally, case, point):
    world = worlds.enter(case, fresh=point.fresh)
    crash = world.new_crash(point)
    try:
        load = getattr(scenes, point.scene)(world, crash)
    finally:
        if crash.happened:
            tally.hit.add((case, point.id))
    world.finish(load)
    world.rest()
    world.usable = True


def test_every_point_was_hit(tally):
    """Of those that were asked for."""
    assert tally.missed() == []
