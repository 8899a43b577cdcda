"""Running a row of the table in one of the ways."""

import contextlib
import io
import warnings

import keras

from tests.training.keras_situations.table import STOCK, Make


def run(row, way, folder):
    """Return what the row gives, from the same start whatever the way.

    What stock Keras warns of is its own matter; a warning of ours fails the row, unless
    the row says that both warn.
    """
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    folder.mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        if way is STOCK:
            warnings.simplefilter("ignore", UserWarning)
        return row.run(Make(way, folder))
