/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_MISUSE_H
#define HK_TESTS_MISUSE_H
/* The cases about damaged lists of free blocks (misuse_lists.c) and those for the profile hardened
 * (misuse_hardened.c), and the calls that may find them. */
#include "harness.h"

extern const struct t_case misuse_list_cases[];
extern const size_t misuse_list_count;
extern const struct t_case misuse_hardened_cases[];
extern const size_t misuse_hardened_count;

#define MISTAKE_MANY 40000u
/* Blocks of `size`, 64 MiB of them but at most `most`, into a table that is the same at each call. */
void **mistake_allocate_many(size_t size, size_t most, size_t *count);

void mistake_free(void *p);
void *mistake_malloc(size_t n);
void *mistake_realloc(void *p, size_t n);
size_t mistake_usable(void *p);
void mistake_free_sized(void *p, size_t n);

/* Allocates and frees until every block of this size that was free has been handed out again, or has
 * left its quarantine. */
void mistake_turn_over(size_t size);

#endif
