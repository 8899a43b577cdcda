"""The style sheet of CONTRIBUTING.md, section "English", applied to all prose.

Prose is the documentation, and in Python files docstrings, messages and comments; code
is not, wherever it stands. `CHANGELOG.md` is left out: its entries are history.
"""

import io
import pathlib
import re
import tokenize

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
PYTHON = [
    file
    for folder in ("keras_ext", "examples", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
MARKDOWN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "keras_ext").rglob("*.md")),
]

# Stems whose verbs American English writes with a z: "raise" or "noise" is no error.
IZE = (
    "author|binar|categor|central|character|custom|discret|emphas|equal|factor|final|"
    "general|ideal|initial|linear|local|maxim|memor|minim|normal|optim|organ|parallel|"
    "penal|prior|quant|random|real|recogn|regular|serial|special|stabil|standard|"
    "summar|symbol|synchron|token|util|vector|visual"
)
SAY_INSTEAD = {
    rf"(?:{IZE})is(?:e[drs]?|ers|ing|ations?|able)": "-ize, -ization",
    r"\w*(?:behavi|col|fav|harb|hon|lab|neighb|rum|vap)our\w*": "-or",
    r"(?:cent|fib|lit|met|theat)re[ds]?|centring": "-er",
    r"(?:\w*label|model|travel|cancel|signal)l(?:ed|ing)": "-led and -ling with one l",
    r"analys(?:e[ds]?|ing)": "analyze",
    r"grey\w*": "gray",
    r"learnt|\w*spelt|burnt": "learned, spelled, burned",
    r"(?:de|of)fence|licence": "-se",
    r"artefacts?|judgements?|programmes?": "artifact, judgment, program",
    r"towards|afterwards|whilst|amongst": "toward, afterward, while, among",
    r"anew": "again, from scratch",
    r"at hand": "available, given",
    r"(?<!written\s)by hand": "manually; a loop is written by hand",
    r"(?<!left\s)behind": "after",
    r"besides": "in addition to, except",
    r"do(?:es)? without": "does not need",
    r"go(?:es|ing|ne)? on|went on": "continue",
    r"hears? of|heard of": "is notified of",
    r"(?<!there\s)(?:is|are|was|were) none": "is not valid; NaN or infinity",
    r"lets? go of": "release",
    r"none must be": "you need not",
    r"of (?:its|their) own": "its own, separate",
    r"(?:lea(?:ve|ves|ving)|left|read|returned|stays?|used) as (?:it|they) \w+": (
        "unchanged"
    ),
    r"tells": "documents, says",
}
PATTERNS = {
    re.compile(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), re.IGNORECASE): better
    for pattern, better in SAY_INSTEAD.items()
}
# One pass over each file for all words: only what it finds is looked at again.
ANY = re.compile("|".join(f"(?:{one.pattern})" for one in PATTERNS), re.IGNORECASE)
# Code, addresses, and titles of what is cited.
NOT_PROSE = re.compile(
    r"``[^`]+``|`(?:[^`\n]|\n(?!\s*\n))+`|https?://\S+"
    r"|^[ \t]*(?:>>>|\.\.\.) .*|Reference: (?:.+\n)+",
    re.MULTILINE,
)
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
STYLE_SHEET = re.compile(r"^## English\n.*?(?=^## )", re.MULTILINE | re.DOTALL)


def _blank(match):
    return "\n" * match[0].count("\n")


def _prose(text):
    """Return `text` without what is not prose, and without indentation."""
    return re.sub(r"^[ \t]+", "", NOT_PROSE.sub(_blank, text), flags=re.MULTILINE)


def _comments_of(match):
    """Return a code block with nothing left but its comments."""
    return "\n".join(line.partition("# ")[2] for line in match[0].split("\n"))


def markdown_prose(text):
    """Return the prose of a page, on the lines where it stands."""
    return _prose(FENCE.sub(_comments_of, STYLE_SHEET.sub(_blank, text)))


def python_prose(source):
    """Return strings and comments, on the lines where they stand.

    Parts of one string, and lines of one comment, follow each other; anything else is
    kept apart by a bar.
    """
    prose, line = [], 1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        prose.append("\n" * (token.start[0] - line))
        line = token.end[0]
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            prose.append(token.string.lstrip("# "))
        elif kind == "STRING":
            prose.append(token.string.strip("rbuf").strip("\"'") + " ")
        elif kind == "FSTRING_MIDDLE":
            prose.append(token.string)
        elif not kind.startswith("FSTRING") and token.string.strip():
            prose.append("|")
    return _prose("".join(prose))


def offenses(prose):
    """Yield line, word and what to say instead, for each word of the style sheet."""
    for match in ANY.finditer(prose):
        (better,) = (say for one, say in PATTERNS.items() if one.fullmatch(match[0]))
        yield prose.count("\n", 0, match.start()) + 1, match[0], better


def _report(files, prose_of):
    return [
        f"{file.relative_to(ROOT)}:{line}: {' '.join(word.split())!r}: say {better}"
        for file in files
        for line, word, better in offenses(prose_of(file.read_text(encoding="utf-8")))
    ]


def test_docstrings_messages_and_comments():
    found = _report(PYTHON, python_prose)
    assert not found, "\n".join(found)


def test_documentation():
    found = _report(MARKDOWN, markdown_prose)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("It normalises neighbours.", "It normalizes; raise noise otherwise."),
        ("A label behind a grey centre.", "A label after a gray center."),
        ("The class tells the formula.", "The class documents the formula."),
        ("If it is\nnone, go on.", "If there is none, continue, and so on."),
        ("The model goes on\nby hand.", "A loop written by hand continues."),
        ("The rest stays as it was.", "As they are in Keras, values are unchanged."),
        ("A file of its own.", "Its own file."),
    ],
)
def test_words_are_found_in_prose_only(wrong, right):
    for bad, good in [
        (f'"""{wrong}"""', f'"""{right} `normalise(x)`."""'),
        (f"x = 1\n# {wrong}".replace("\n", "\n# "), f"behind = 1  # {right}"),
        (
            f'f"{{x}} {wrong}"'.replace("\n", " "),
            f'print(grey, f"{{neighbour}} {right}")',
        ),
    ]:
        assert list(offenses(python_prose(bad)))
        assert not list(offenses(python_prose(good)))
    assert list(offenses(markdown_prose(f"Title\n\n{wrong}\n")))
    assert not list(offenses(markdown_prose(f"Title\n\n{right}\n")))


def test_code_blocks_are_read_for_their_comments():
    assert list(offenses(markdown_prose("```python\nx = 1  # behind it\n```\n")))
    assert not list(offenses(markdown_prose("```python\nbehind = 1  # after\n```\n")))


def test_the_line_is_that_of_the_word():
    source = 'x = 1\n\n\ndef f():\n    """One.\n\n    Two,\n    behind it.\n    """\n'
    assert [line for line, _, _ in offenses(python_prose(source))] == [8]
    source = "x = 1\n# One\n# two behind\n\n# It hears\n# of it.\n"
    assert [line for line, _, _ in offenses(python_prose(source))] == [3, 5]
    assert [line for line, _, _ in offenses(markdown_prose("One\n\nanew\n"))] == [3]
