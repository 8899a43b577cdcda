"""Linear-chain conditional random fields by enumerating all sequences of tags.

One sequence at a time; the cost is tags ** time.  `potentials`, `score` and
`log_partition_of_potentials` follow the layout of the potentials, (time, tags, tags);
all else comes from the definition of the chain over the steps which the mask keeps, so
that the two halves share nothing and can be held against each other.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

FORBIDDEN = -(2.0**15)
"""The log potential of changing the tag at a masked step."""


def _kept_steps(time: int, mask: np.ndarray | None) -> list[int]:
    """List the steps which the mask keeps, in order: all of them without a mask."""
    if mask is None:
        return list(range(time))
    if np.shape(mask) != (time,):
        raise ValueError(f"a mask of shape {np.shape(mask)} for {time} steps")
    return [t for t in range(time) if bool(mask[t])]


def _log_sum_exp(scores: Iterable[float]) -> float:
    """log(sum(exp(scores))), the largest score taken out first."""
    scores = list(scores)
    largest = max(scores)
    return largest + math.log(math.fsum(math.exp(s - largest) for s in scores))


# The potentials ------------------------------------------------------------------


def potentials(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """phi[t, i, j]: what tag j at step t adds to a score after tag i at step t - 1.

    Lafferty et al. 2001 and Lample et al. 2016, https://arxiv.org/abs/1603.01360,
    section 2.2; masked steps hand the tag on.
    """
    emissions = np.asarray(emissions, dtype=np.float64)
    time, tags = emissions.shape
    kept = _kept_steps(time, mask)
    phi = np.zeros((time, tags, tags))
    for t, i, j in np.ndindex(time, tags, tags):
        if t not in kept:
            phi[t, i, j] = 0.0 if i == j else FORBIDDEN
            continue
        before = float(start[j]) if t == kept[0] else float(transitions[i, j])
        after = float(end[j]) if t == kept[-1] else 0.0
        phi[t, i, j] = before + emissions[t, j] + after
    return phi


def score(potentials: np.ndarray, tags: Sequence[int] | np.ndarray) -> float:
    """phi[0, 0, y_0] + sum_t phi[t, y_(t-1), y_t]: Lample et al. 2016, section 2.2.

    The tags of all steps are read: those of masked steps should repeat the tag before,
    0 at the beginning, for which a masked step adds 0.
    """
    potentials = np.asarray(potentials, dtype=np.float64)
    if len(tags) != len(potentials):
        raise ValueError(f"{len(tags)} tags for {len(potentials)} steps")
    total = 0.0
    before = 0
    for t, tag in enumerate(tags):
        total += float(potentials[t, before, int(tag)])
        before = int(tag)
    return total


def log_partition_of_potentials(potentials: np.ndarray) -> float:
    """log sum_y exp(score(y)), from row 0 of step 0; 0 for an empty sequence.

    Lample et al. 2016, https://arxiv.org/abs/1603.01360, section 2.2.
    """
    time, tags, _ = np.shape(potentials)
    paths = itertools.product(range(tags), repeat=time)
    return _log_sum_exp(score(potentials, path) for path in paths)


# The chain over the kept steps ---------------------------------------------------


def _chain_score(
    emissions: np.ndarray,
    tags: Sequence[int],
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
) -> float:
    """start[y_0] + sum_t P[t, y_t] + sum_t A[y_t, y_(t+1)] + end[y_last]; 0 if empty.

    Lample et al. 2016, https://arxiv.org/abs/1603.01360, section 2.2: s(X, y).
    """
    if len(tags) == 0:
        return 0.0
    total = float(start[tags[0]]) + float(end[tags[-1]])
    for t, tag in enumerate(tags):
        total += float(emissions[t, tag])
    for tag, following in itertools.pairwise(tags):
        total += float(transitions[tag, following])
    return total


def _scored_paths(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None,
) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield all sequences of tags of the kept steps, each with its score."""
    emissions = np.asarray(emissions, dtype=np.float64)
    kept = emissions[_kept_steps(len(emissions), mask)]
    for path in itertools.product(range(emissions.shape[1]), repeat=len(kept)):
        yield path, _chain_score(kept, path, transitions, start, end)


def log_partition(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None = None,
) -> float:
    """log sum_y exp(s(X, y)) over the tags of the kept steps; 0 if none is kept.

    Lample et al. 2016, https://arxiv.org/abs/1603.01360, section 2.2.
    """
    paths = _scored_paths(emissions, transitions, start, end, mask)
    return _log_sum_exp(path_score for _, path_score in paths)


def negative_log_likelihood(
    emissions: np.ndarray,
    tags: Sequence[int] | np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None = None,
) -> float:
    """log Z - s(X, y), `tags` of masked steps unread: minus log p(y | X).

    Lample et al. 2016, https://arxiv.org/abs/1603.01360, section 2.2.
    """
    emissions = np.asarray(emissions, dtype=np.float64)
    if len(tags) != len(emissions):
        raise ValueError(f"{len(tags)} tags for {len(emissions)} steps")
    kept = _kept_steps(len(emissions), mask)
    truth = [int(tags[t]) for t in kept]
    truth_score = _chain_score(emissions[kept], truth, transitions, start, end)
    return log_partition(emissions, transitions, start, end, mask) - truth_score


def best_path(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """argmax_y s(X, y), the tags of the kept steps, and the score it has.

    Lample et al. 2016, https://arxiv.org/abs/1603.01360, section 2.2; of equal scores
    the first in lexicographic order.
    """
    paths = _scored_paths(emissions, transitions, start, end, mask)
    best, best_score = max(paths, key=lambda scored: scored[1])
    return np.array(best, dtype=np.int64), best_score


def marginals(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """p(y_t = j | X) of every kept step: (steps kept, tags).

    The sum of p(y | X) of Lample et al. 2016, https://arxiv.org/abs/1603.01360,
    section 2.2, over the sequences y with tag j at step t.
    """
    emissions = np.asarray(emissions, dtype=np.float64)
    steps = len(_kept_steps(len(emissions), mask))
    log_z = log_partition(emissions, transitions, start, end, mask)
    output = np.zeros((steps, emissions.shape[1]))
    for path, path_score in _scored_paths(emissions, transitions, start, end, mask):
        probability = math.exp(path_score - log_z)
        for t, tag in enumerate(path):
            output[t, tag] += probability
    return output
