# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Makes the lab importable, whatever directory pytest was started in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
