/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The innermost library of ov_origin.c. */
int ov_origin_inner(void);

int ov_origin_inner(void) { return 4711; }
