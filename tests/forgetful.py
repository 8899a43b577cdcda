"""A callback for tests of runs that are continued."""

import keras


class Forgetful(keras.callbacks.Callback):
    """Begins anew in every process: nothing of it is saved with a run."""

    def get_state(self):
        return {}

    def set_state(self, state):
        pass
