"""Draw the ratios that the page about speed quotes, as bars.

    python benchmarks/speed_picture.py

The figures are read from the table "Measured" of the page, so the picture says what
the page says. `fit_speed.py` measures them. The picture keeps its figures in its
metadata, by which a test sees whether the page has changed since it was drawn.
"""

import argparse
import json
import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "explanation" / "speed.md"
PICTURE = DOCS / "_static" / "speed.png"
Bar = tuple[str, float, float, float]


def read_bars(page: str) -> list[Bar]:
    """Return label, ratio, least and most of each row that says "faster"."""
    bars, work = [], ""
    for line in page.splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        work = cells[0] or work
        if len(cells) != 5 or not cells[2].endswith("x faster"):
            continue
        spread = [float(number) for number in re.findall(r"[\d.]+", cells[3])]
        other = cells[1].replace("(steps_per_execution=100)", ", 100 steps per call")
        ratio = float(cells[2].removesuffix("x faster"))
        bars.append((f"{work}\nagainst {other}", ratio, *spread))
    if not bars:
        raise SystemExit(f"{PAGE}: expected a table with rows that say `x faster`")
    return bars


def draw(bars: list[Bar], picture: pathlib.Path) -> None:
    """Draw one bar per row on a logarithmic axis, with the spread of its rounds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels, ratios, least, most = zip(*reversed(bars), strict=True)
    figure, axis = plt.subplots(figsize=(8.4, 0.45 * len(bars) + 1), layout="tight")
    spread = [
        [ratio - low for ratio, low in zip(ratios, least, strict=True)],
        [high - ratio for ratio, high in zip(ratios, most, strict=True)],
    ]
    axis.barh(labels, ratios, color="#2a7f9e", height=0.66)
    axis.errorbar(ratios, labels, xerr=spread, fmt="none", ecolor="#333333", capsize=3)
    for label, ratio, high in zip(labels, ratios, most, strict=True):
        axis.text(high * 1.08, label, f"{ratio:g}x", va="center", fontsize=9)
    axis.set(xscale="log", xlim=(1, 1.8 * max(most)), xlabel="times faster")
    axis.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axis.tick_params(axis="y", labelsize=8, length=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("keras_ext on two CPU cores: median and spread of five rounds")
    figure.savefig(picture, dpi=110, metadata={"Description": json.dumps(bars)})
    plt.close(figure)


def main() -> None:
    """Read the page, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=PICTURE)
    options = parser.parse_args()
    draw(read_bars(PAGE.read_text(encoding="utf-8")), options.out)


if __name__ == "__main__":
    main()
