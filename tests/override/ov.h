/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef OV_H
#define OV_H
/* What the override tests share. A test prints nothing and returns 0, or one sentence and 1. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OV_FAIL(...)                                                                               \
	do {                                                                                       \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fputs(".\n", stderr);                                                              \
		exit(1);                                                                           \
	} while (0)
#define OV_CHECK(cond)                                                                             \
	do {                                                                                       \
		if (!(cond))                                                                       \
			OV_FAIL("%s:%d: not true: %s", __FILE__, __LINE__, #cond);                 \
	} while (0)

/* Keeps the compiler from knowing what it is about to free or allocate. */
static inline void *ov_hide(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static inline size_t ov_hide_size(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* Runs fn(arg) in a child, which must die of SIGABRT with `text` on stderr. */
static inline void ov_must_abort(const char *what, void (*fn)(void *), void *arg, const char *text)
{
	char seen[512] = "";
	size_t used = 0;
	int out[2], status = 0;
	ssize_t n;
	pid_t child;

	if (pipe(out) != 0 || (child = fork()) < 0)
		OV_FAIL("no pipe or no child");
	if (child == 0) {
		dup2(out[1], 2);
		fn(arg);
		_exit(0);
	}
	close(out[1]);
	while ((n = read(out[0], seen + used, sizeof(seen) - 1 - used)) > 0)
		used += (size_t)n;
	close(out[0]);
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		OV_FAIL("%s: wait status %d instead of SIGABRT, stderr '%s'", what, status, seen);
	if (strstr(seen, text) == NULL)
		OV_FAIL("%s: stderr is '%s' and lacks '%s'", what, seen, text);
}

#endif
