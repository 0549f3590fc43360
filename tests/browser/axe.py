"""axe-core, the accessibility checker, on a page in a browser."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PACKAGE, SCRIPT = "axe-core@4.14.1", "package/axe.min.js"

RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .flatMap(({ id, help, nodes }) => nodes.map((node) => `${id} (${help}): ${node.html} ${node.failureSummary}`))));
"""


@cache
def script() -> str:
    """The checker's source from npm. The test is skipped where it cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which axe-core comes from")
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, PACKAGE]
        packed = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if packed.returncode:
            pytest.skip(f"npm does not get {PACKAGE}: {packed.stderr.strip()[-200:]}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            member = archive.extractfile(SCRIPT)
            assert member is not None
            return member.read().decode("utf-8")


def serious_findings(browser: Any) -> list[str]:
    """What axe-core finds on the page as it is now, of serious or critical impact."""
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": script()})  # past the page's content security policy
    return browser.execute_async_script(RUN)  # type: ignore[no-any-return]
