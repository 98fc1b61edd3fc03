"""Fixtures of the tests of upgrades, on top of those of the integration tests: servers, stacks, clients.

`tests/upgrade/run` builds the versions and runs them all. Each test has a pair of versions, an older and a newer one.
"""

import importlib.util
import pathlib

import processes


def _integration_fixtures():
    """tests/integration/conftest.py, under a name of its own: two modules cannot both be called conftest."""
    source = pathlib.Path(processes.__file__).with_name("conftest.py")
    specification = importlib.util.spec_from_file_location("integration_fixtures", source)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def pytest_configure(config):
    config.pluginmanager.register(_integration_fixtures())
