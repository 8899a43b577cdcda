"""What a callback may request of the run that it belongs to."""

import enum


class RunRequest(str, enum.Enum):
    """What a callback may request of a run, by its attribute `request`.

    Checked after each call that makes steps, and at the end of an epoch, in
    `keras_ext.Trainer.fit` and `keras_ext.Loop`, together with a
    `keras_ext.callbacks.Checkpoint`. Each is also a string.

    Attributes:
        INTERRUPT: Save the run and end it here, to be continued later; an epoch that
            has begun is not reported. Used by `TimeLimit`.
        ROLL_BACK: Return to the last checkpoint and continue from there, with the data
            in a different order; the request is then reset. Used by
            `NaNGuard("roll_back")`.
        DISCARD: Stop saving the run, so that the last checkpoint is one from before.
            Used by `NaNGuard("stop")`, which also sets `stop_training`.

    Example:

    >>> from keras_ext.callbacks import RunRequest
    >>> RunRequest("interrupt") is RunRequest.INTERRUPT
    True
    >>> RunRequest.INTERRUPT == "interrupt"
    True
    """

    INTERRUPT = "interrupt"
    ROLL_BACK = "roll_back"
    DISCARD = "discard"
