/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The library of trap_tls.c: thread-local storage too large for the loader's reserve, and a stock of
 * blocks that is freed when the library is unloaded. */
#include <stdlib.h>

#define BLOCKS 400

char *trap_tls_local(void);
void *trap_tls_stocked(void);

static _Thread_local char local[20000];
static void *stock[BLOCKS];

char *trap_tls_local(void) { return local; }
void *trap_tls_stocked(void) { return stock[BLOCKS - 1]; }

__attribute__((constructor)) static void fill(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		stock[i] = malloc(1 + i * 37);
}

__attribute__((destructor)) static void empty(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		free(stock[i]);
}
