"""Headless Chromium, and a server for the pages it opens."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Print nothing."""


@contextlib.contextmanager
def served(folder):
    """Serve `folder` on the loopback interface, and yield the address."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium():
    """Yield a driver of Chromium, which reaches no other host."""
    selenium = pytest.importorskip("selenium.webdriver")
    assert shutil.which("chromium"), "Chromium must be installed: apt install chromium"
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(shutil.which("chromedriver"))
    driver = selenium.Chrome(options, service)
    try:
        driver.set_page_load_timeout(60)
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()
