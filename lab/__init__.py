# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The lab: runners and reports behind the program `hakmem`."""
