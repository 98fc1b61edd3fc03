"""The list of points is complete, and names none that the sources do not have."""

import re

import pytest

import processes
import scenes
from points import POINTS

STATEMENT = "postgres.sent."
SHARED = ["runtime"]


def sources(*folders):
    files = [file for folder in folders for file in sorted((processes.ROOT / folder).rglob("*.c"))
             if not file.stem.endswith("_test")]
    assert files
    return "\n".join(file.read_text() for file in files)


def points_in(text):
    return set(re.findall(r'LS_FAULT_POINT(?:_OF)?\("([^"]+)"', text))


def test_every_point_in_the_sources_has_its_crash():
    tested = {STATEMENT if point.name.startswith(STATEMENT) else point.name for point in POINTS}
    assert points_in(sources("order", "delivery", *SHARED)) == tested


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.id)
def test_every_crash_has_its_point_and_its_scene(point):
    text = sources(point.service, *SHARED)
    if point.name.startswith(STATEMENT):
        assert f'"{point.name.removeprefix(STATEMENT)}"' in text, "no statement of that service has this name"
    else:
        assert point.name in points_in(text)
    assert callable(getattr(scenes, point.scene))
