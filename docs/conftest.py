"""The Python blocks of these pages as tests; those of a page share their names."""

import doctest
from typing import Any

import keras
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

collect_ignore = ["_build", "class_pages.py", "conf.py", "formulas.py"]
if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["*.md"]


def _begin_page(namespace: dict[str, Any]) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(
            doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
    ],
    patterns=["*.md"],
    setup=_begin_page,
    fixtures=["in_a_folder"],
).pytest()
