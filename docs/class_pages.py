"""Pages of the API reference, one per class, for rooms that have many of them."""

import pathlib
from collections.abc import Sequence

ROOMS = ("layers", "losses", "metrics")
"""The rooms whose classes have pages of their own, in a folder of the room's name."""


def write(folder: pathlib.Path, room: str, names: Sequence[str]) -> None:
    """Write the pages of a room, where they have changed, and remove what is gone."""
    folder.mkdir(exist_ok=True)
    texts = {folder / f"{name}.rst": page for name, page in pages(room, names).items()}
    for path in set(folder.glob("*.rst")) - set(texts):
        path.unlink()
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages(room: str, names: Sequence[str]) -> dict[str, str]:
    """Return the page of each class, with the function that it is the shell of.

    A function that has no class has a page, too.
    """
    functions = {name.replace("_", ""): name for name in names if name[0].islower()}
    texts = {}
    for name in names:
        if name[0].islower():
            continue
        directives = [f".. autoclass:: keras_ext.{room}.{name}"]
        # `pinball` belongs to `Pinball`, `viterbi_decode` to `ViterbiDecoder`.
        for plain in (name.lower(), name.lower().removesuffix("r")):
            if plain in functions:
                function = functions.pop(plain)
                directives.append(f".. autofunction:: keras_ext.{room}.{function}")
                break
        texts[name] = _page(name, directives)
    for name in functions.values():
        texts[name] = _page(name, [f".. autofunction:: keras_ext.{room}.{name}"])
    return texts


def _page(name: str, directives: Sequence[str]) -> str:
    """Return a page with its title."""
    return "\n\n".join([f"{name}\n{'=' * len(name)}", *directives, ""])
