"""Fixtures of the crash point tests, on top of those of the integration tests: servers, stacks, clients.

`tests/run --only crash` builds with faults and runs them all, `tests/run --only crash:TEXT` those whose names match.
By hand, after `deploy/local/dependencies --test` and a build with -DLOCKSTEP_FAULTS=ON:

    LOCKSTEP_BUILD_DIR=build/faults .../bin/python -m pytest tests/crash -k "zero-domain-relay"

  worlds   worlds.enter(case): the World of a case, at rest; it serves many points, one after the other
  tally    which points were hit in which case; printed at the end
"""

import importlib.util
import pathlib

import pytest

import processes


def _integration_fixtures():
    """tests/integration/conftest.py, under a name of its own: two modules cannot both be called conftest."""
    source = pathlib.Path(processes.__file__).with_name("conftest.py")
    specification = importlib.util.spec_from_file_location("integration_fixtures", source)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


TALLY = pytest.StashKey()


class Tally:
    """The tests that are to hit a point, and those that did: (case, point's id)."""

    def __init__(self):
        self.wanted, self.hit = [], set()

    def missed(self):
        return [one for one in self.wanted if one not in self.hit]

    def lines(self):
        """A line for each point, with how often it was hit; in how many cases it should have been."""
        points = list(dict.fromkeys(point for _, point in self.wanted))
        for point in points:
            cases = [case for case, wanted in self.wanted if wanted == point]
            missed = [case for case in cases if (case, point) not in self.hit]
            absent = f"  not in {', '.join(missed)}" if missed else ""
            yield f"{point:<44} {len(cases) - len(missed)} of {len(cases)}{absent}"
        yield f"{len(self.wanted) - len(self.missed())} of {len(self.wanted)} crashes happened"


def pytest_configure(config):
    config.pluginmanager.register(_integration_fixtures())
    config.stash[TALLY] = Tally()


def pytest_collection_modifyitems(items):
    """The count comes last."""
    items.sort(key=lambda item: item.name == "test_every_point_was_hit")


def pytest_collection_finish(session):
    session.config.stash[TALLY].wanted = [
        (item.callspec.params["case"], item.callspec.params["point"].id) for item in session.items
        if {"case", "point"} <= getattr(getattr(item, "callspec", None), "params", {}).keys()]


def pytest_terminal_summary(terminalreporter, config):
    tally = config.stash[TALLY]
    if tally.wanted and not config.option.collectonly:
        terminalreporter.section("crash points")
        for line in tally.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tally(pytestconfig):
    return pytestconfig.stash[TALLY]


@pytest.fixture(scope="session")
def _worlds(_postgres, _kafka, test_directory):
    from world import Worlds  # needs the generated clients

    worlds = Worlds(_postgres, _kafka, test_directory)
    try:
        yield worlds
    finally:
        worlds.leave()


@pytest.fixture
def worlds(_worlds, postgres, kafka, request):
    """Both servers are up, and a failure shows the logs of the world's services."""
    request.node.stacks = _worlds.stacks
    return _worlds
