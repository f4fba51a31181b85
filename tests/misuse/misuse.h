/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_MISUSE_H
#define HK_TESTS_MISUSE_H
/* The cases about damaged lists of free blocks (misuse_lists.c), and the calls that may find them. */
#include "harness.h"

extern const struct t_case misuse_list_cases[];
extern const size_t misuse_list_count;

void mistake_free(void *p);
void *mistake_malloc(size_t n);

#endif
