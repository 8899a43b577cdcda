"""The built documentation in a real browser, without a network.

`.ci/run style` builds the site and runs this with `SITE` set to its folder; it needs
Selenium, Chromium and its driver.
"""

import html.parser
import os
import pathlib
import urllib.parse

import pytest

from tests.browser import chromium, served

SITE = os.environ.get("SITE")

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        SITE is None, reason="needs the built site: `SITE=docs/_build/html`"
    ),
]
PHONE = 390
"""Pixels."""


class Links(html.parser.HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(
            filter(None, (attributes.get("id"), attributes.get("name")))
        )
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append(attributes[name])


@pytest.fixture(scope="module")
def pages():
    """Return all pages, by their path in the site."""
    folder = pathlib.Path(SITE)
    return {
        file.relative_to(folder).as_posix(): Links(file.read_text("utf-8"))
        for file in sorted(folder.rglob("*.html"))
    }


@pytest.fixture(scope="module")
def address():
    """Serve the site on the loopback interface."""
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """Chromium as wide as a phone."""
    with chromium() as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True},
        )
        yield driver


def test_no_link_is_dead(pages):
    dead = []
    for page, parsed in pages.items():
        for link in parsed.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = urllib.parse.unquote(target.path)
            file = pathlib.PurePosixPath(page).parent / path if path else page
            name = os.path.normpath(file).replace(os.sep, "/")
            if not pathlib.Path(SITE, name).exists():
                dead.append(f"{page}: {link}")
            # What a browser marks in a text is no anchor.
            elif name in pages and target.fragment:
                fragment = urllib.parse.unquote(target.fragment)
                if fragment not in pages[name].anchors:
                    dead.append(f"{page}: {link}")
    assert not dead, "\n".join(dead)


def test_no_page_loads_anything_from_elsewhere(pages):
    for page in pages:
        text = pathlib.Path(SITE, page).read_text("utf-8")
        for needle in ('<script src="http', 'rel="stylesheet" href="http', "cdn."):
            assert needle not in text, page


LOOK = """
const page = document.documentElement;
return {
    width: page.scrollWidth,
    text: document.body.innerText,
    broken: [...document.images].filter(one => !one.naturalWidth).map(one => one.src),
    formulas: [...document.querySelectorAll("math")].map(
        one => one.getBoundingClientRect().height
    ),
}
"""


def test_every_page_is_readable_on_a_phone(pages, address, browser):
    wrong, formulas = [], 0
    for page in pages:
        browser.get(f"{address}/{page}")
        look = browser.execute_script(LOOK)
        if look["width"] > PHONE:
            wrong.append(f"{page}: {look['width']} pixels wide, {PHONE} expected")
        wrong += [f"{page}: {picture} is not there" for picture in look["broken"]]
        if "\\frac" in look["text"] or "\\mathrm" in look["text"]:
            wrong.append(f"{page}: shows LaTeX instead of a formula")
        if not all(height > 5 for height in look["formulas"]):
            wrong.append(f"{page}: a formula has no height")
        formulas += len(look["formulas"])
    assert not wrong, "\n".join(wrong)
    assert formulas > 100
    severe = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    # There is no icon for the tab, which every browser asks for.
    assert not [one for one in severe if "favicon.ico" not in one["message"]]


def test_search_finds_a_class(address, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/search.html?q=TripletHard")
    results = WebDriverWait(browser, 30).until(
        lambda driver: driver.find_elements("css selector", "#search-results li a")
    )
    assert any("TripletHard" in one.text for one in results)
