# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""A headless chromium, driven by chromedriver over plain HTTP (WebDriver): for tests of pages."""

import json
import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars"]
START_S = 60


def missing():
    """Why there is no browser here; empty if there is one."""
    for path, package in ((CHROMIUM, "chromium"), (DRIVER, "chromium-driver")):
        if not path.exists():
            return f"no {path}: apt-get install {package}"
    return ""


class Browser:
    """With a profile of its own, which `with` removes again."""

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="hakmem-browser-",
                                                   ignore_cleanup_errors=True)
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        self.session = ""
        try:
            for line in self.driver.stdout:
                port = re.search(r"started successfully on port (\d+)", line)
                if port:
                    break
            self.base = f"http://127.0.0.1:{port[1]}"
            options = {"binary": str(CHROMIUM),
                       "args": [*ARGUMENTS, f"--user-data-dir={self.profile.name}"]}
            found = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
            self.session = f"/session/{found['sessionId']}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.session:
                self._call("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait(10)
            self.driver.stdout.close()
            self.profile.cleanup()

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method,
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return json.load(answer)["value"]

    def _devtools(self, command, **parameters):
        return self._call("POST", f"{self.session}/goog/cdp/execute",
                          {"cmd": command, "params": parameters})

    def open(self, path, width, height, scheme):
        """A page at a size, in light or dark."""
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                       deviceScaleFactor=1, mobile=width < 700)
        self._devtools("Emulation.setEmulatedMedia",
                       features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._call("POST", f"{self.session}/url", {"url": Path(path).resolve().as_uri()})

    def run(self, script):
        """What a script on the page returns."""
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def log(self, kind):
        """Entries since the last call: browser (console) or performance (network)."""
        return self._call("POST", f"{self.session}/se/log", {"type": kind})

    def requests(self, path):
        """The URLs that a page asked for since the last call; its own is the first."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"
                and message["params"]["documentURL"] == Path(path).resolve().as_uri()]
