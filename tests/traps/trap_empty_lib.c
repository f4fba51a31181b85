/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* An empty library: what preloading costs by itself. */
int trap_empty(void);

int trap_empty(void) { return 0; }
