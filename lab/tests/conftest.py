# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What the lab's tests share; and makes it importable, whatever directory pytest was started in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))


@pytest.fixture(name="hakmem")
def fixture_hakmem():
    """hakmem("run", "true", NAME="value") runs the program to its end, with no HAKMEM_ variable but
    those given; env replaces the whole environment."""
    def run(*words, env=None, cwd=None, timeout=100, **variables):
        if env is None:
            env = {k: v for k, v in os.environ.items()
                   if not k.startswith("HAKMEM_") and k not in ("LD_PRELOAD", "COLUMNS")}
        return subprocess.run([sys.executable, str(ROOT / "hakmem"), *map(str, words)],
                              env={**env, **variables}, cwd=cwd, capture_output=True, text=True,
                              timeout=timeout, check=False)
    return run
