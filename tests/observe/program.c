/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * What dumps_run.py runs: program exit | wait | own | print FORMAT. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hakmem/hakmem.h"
#include "harness.h"

static void *blocks[3000];

static void hold(void)
{
	for (size_t i = 0; i < T_COUNT(blocks); i++) {
		size_t bytes = i % 100 == 0 ? 400 * T_KiB : 16 * (i % 300);

		blocks[i] = hak_malloc(bytes);
		t_need(blocks[i] != NULL);
		memset(blocks[i], 1, bytes);
	}
	for (size_t i = 0; i < T_COUNT(blocks); i += 3)
		hak_free(blocks[i]);
	t_need(hak_malloc(40 * T_MiB) != NULL);
}

/* A writer that uses the allocator. */
static void to_stdout(const char *text, size_t bytes, void *arg)
{
	char *copy = hak_malloc(bytes);

	t_need(strlen(arg) == 4 && bytes != 0); /* "text" or "json" */
	memcpy(copy, text, bytes);
	t_need(write(1, copy, bytes) == (ssize_t)bytes);
	hak_free(copy);
}

static void note_own(int number)
{
	(void)number;
	t_need(write(1, "own\n", 4) == 4);
}

/* Until stdin ends; a signal must not end the read. */
static void wait_for_end(void)
{
	char c;

	t_need(write(1, "ready\n", 6) == 6);
	t_need(read(0, &c, 1) == 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "exit";

	hold();
	if (strcmp(what, "own") == 0)
		signal(SIGUSR2, note_own);
	if (strcmp(what, "wait") == 0 || strcmp(what, "own") == 0)
		wait_for_end();
	if (strcmp(what, "print") == 0) {
		t_need(hak_stats_print("xml", NULL, NULL) == EINVAL);
		t_need(hak_stats_print(argv[2], to_stdout, argv[2]) == 0);
		t_need(hak_stats_print(argv[2], NULL, NULL) == 0);
	}
	return 0;
}
