#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Percentiles of a soak's epochs, throughput and time an operation (lab/tails.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab import cli  # pylint: disable=wrong-import-position

if __name__ == "__main__":
    sys.exit(cli.guard("tails", "main_epochs", sys.argv[1:]))
