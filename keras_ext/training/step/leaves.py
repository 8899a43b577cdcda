"""The entries of a batch that are not `None`, as compiled functions take them."""

from typing import Any

import keras


def leaves_of(structure: Any) -> list[Any]:
    """Return the entries of `structure` that are not `None`."""
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def with_leaves(structure: Any, leaves: list[Any]) -> Any:
    """Return `structure` with `leaves` in place of its entries that are not `None`."""
    remaining = iter(leaves)
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else next(remaining), structure
    )
