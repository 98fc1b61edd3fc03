"""A cluster by KUBECONFIG, with the images loaded (tests/kubernetes/run does it). The tests of one file go one after
the other, in their order: test_1_demo.py looks at what one apply brings, test_2_load.py does all kinds of things to it
while clients work."""

import atexit
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for folder in ("chaos", "integration"):
    sys.path.insert(0, str(HERE.parent / folder))

from support import schemas  # noqa: E402

_SCHEMAS = tempfile.mkdtemp(prefix="lockstep-schemas.")
atexit.register(shutil.rmtree, _SCHEMAS, ignore_errors=True)
schemas.generate(pathlib.Path(_SCHEMAS))
sys.path.insert(0, _SCHEMAS)

import kube  # noqa: E402
import volumes  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--restart-kubelet", default="", help="a command that restarts the node's kubelet")
    parser.addoption("--delete-namespace", action="store_true", help="delete it even if it is not the tests' own")
    parser.addoption("--keep", action="store_true", help="leave the namespace when all is done")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """What the cluster looked like when a test failed."""
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        print(kube.kubectl("get", "pods", "--output=wide", check=False))
        print(kube.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-4000:])


@pytest.fixture(scope="session")
def evidence_folder() -> pathlib.Path:
    folder = pathlib.Path(os.environ.get("LOCKSTEP_TEST_DIR") or tempfile.mkdtemp(prefix="lockstep-kubernetes."))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def empty_cluster(request: pytest.FixtureRequest):
    """No namespace yet, and volumes for the demo's claims where the cluster has no StorageClass of its own."""
    kube.delete_namespace(request.config.getoption("--delete-namespace"))
    volumes.prepare()
    yield
    if not request.config.getoption("--keep"):
        kube.delete_namespace()
        volumes.remove()
