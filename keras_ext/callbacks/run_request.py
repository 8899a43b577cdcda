"""What a callback may ask of the run that it belongs to."""

import enum


class RunRequest(str, enum.Enum):
    """What a callback may ask of a run, by its attribute `request`.

    Looked at after each call that makes steps, and at the end of an epoch, in
    `keras_ext.Trainer.fit` and `keras_ext.Loop`, beside a
    `keras_ext.callbacks.Checkpoint`. Each is a string as well.

    Attributes:
        INTERRUPT: Save the run and end it here, to be continued another time; an epoch
            that has begun is not reported. What `TimeLimit` asks for.
        ROLL_BACK: Go back to the last checkpoint and continue from there, with the
            data in another order; the request is then taken back. What
            `NaNGuard("roll_back")` asks for.
        DISCARD: Do not save the run any more, so that the last checkpoint is one from
            before. What `NaNGuard("stop")` asks for, and sets `stop_training`.

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
