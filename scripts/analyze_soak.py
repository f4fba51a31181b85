#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Judges soaks: RSS drift, throughput drift, variation (lab/soak_analysis.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab import cli  # pylint: disable=wrong-import-position

if __name__ == "__main__":
    sys.exit(cli.guard("soak_analysis", "main", sys.argv[1:]))
