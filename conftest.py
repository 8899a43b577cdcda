"""What the whole test run shares: one seed per test, and the README as a test."""

import collections
import gc
import importlib.util
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import keras
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# The same few examples in every run; the fixture below need not run between them.
hypothesis.settings.register_profile(
    "house",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=20,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("house")

# What is imported stays, and tests leave much behind: looking through all of it costs a
# twentieth of the run.
gc.freeze()
gc.set_threshold(50_000, 20, 100)

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md"], fixtures=["in_a_folder"]
).pytest()


# The examples of the bridge need what it is a bridge to; `.ci/run addons` runs them.
if importlib.util.find_spec("tensorflow_addons") is None:
    collect_ignore = ["keras_ext/addons"]

REFERENCES = ("equal", "reference", "formula", "paper", "slope")
"""Words in the names of tests that compare a component with something independent."""


def pytest_addoption(parser):
    """Let `.ci/run` choose what other versions and backends run."""
    parser.addoption(
        "--whole",
        action="append",
        default=[],
        help="run all tests of this file or folder, and of other files only those that "
        f"compare with a reference, by their names: {', '.join(REFERENCES)}",
    )


def pytest_configure(config):
    """Keep the order of the files: pytest-xdist's is that of their numbers of tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config, items):
    """Leave out what `--whole` says, and begin with the files that take longest."""
    sizes = collections.Counter(item.path for item in items)

    def begins_late(item):
        return item.get_closest_marker("early") is None, -sizes[item.path]

    # A file that is left for the end keeps one process waiting for the other.
    items.sort(key=begins_late)
    whole = config.getoption("--whole")
    if not whole:
        return
    chosen, others = [], []
    for item in items:
        is_whole = item.nodeid.startswith(tuple(whole))
        compares = any(word in item.nodeid for word in REFERENCES)
        (chosen if is_whole or compares else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


@pytest.fixture(autouse=True)
def _clean_keras():
    """Start every test from the same seed and without leftovers of the last one."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1234)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard():
    """Undo what a shell does to what it starts in the background: SIGINT is ignored.

    Python and the programs that tests start would leave it so.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def in_a_folder(tmp_path_factory):
    """Run the code blocks of a document in an empty folder."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("document"))
    yield
    os.chdir(before)
