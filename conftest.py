"""What the whole test run shares: one seed per test, the Markdown files as tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest


@pytest.fixture(autouse=True)
def _clean_keras():
    """Start every test from the same seed and without leftovers of the last one."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1234)
