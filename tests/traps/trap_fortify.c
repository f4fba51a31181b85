/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Programs that ask malloc_usable_size how large a buffer is, and fill it to that end, as systemd's
 * growing arrays do; compiled with -O2 -D_FORTIFY_SOURCE=3, where the compiler knows what was asked
 * for, and each write is checked against that. It must be told of the new size, by a function that
 * does nothing else; without it, the process ends (so the checks are there). */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#if !defined(__OPTIMIZE__) || !defined(_FORTIFY_SOURCE) || _FORTIFY_SOURCE < 3
#error "compiled with -O2 -D_FORTIFY_SOURCE=3"
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_dynamic_object_size)
#define KNOWN_SIZE(p) __builtin_dynamic_object_size(p, 0)
#endif
#endif
#ifndef KNOWN_SIZE
#define KNOWN_SIZE(p) __builtin_object_size(p, 0)
#endif

/* "As if it had been allocated with this size." */
__attribute__((alloc_size(2), returns_nonnull)) T_NOINLINE static void *with_size(void *p, size_t n)
{
	(void)n;
	return t_launder(p);
}

/* The size that may be used, and the pointer by which it may. */
static inline __attribute__((always_inline)) size_t usable(void **p)
{
	size_t n;

	if (*p == NULL)
		return 0;
	n = malloc_usable_size(*p);
	*p = with_size(*p, n);
	return n;
}

static void whole_blocks(void)
{
	for (size_t n = 0; n < 600 * T_KiB; n += n / 50 + 1) {
		size_t asked = t_hide(n), room;
		void *p = malloc(asked);

		t_need(p != NULL);
		room = usable(&p);
		t_check_at(room >= asked, n);
		memset(p, 7, room);
		t_check_at(KNOWN_SIZE(p) == room || KNOWN_SIZE(p) == SIZE_MAX, n);
		t_check_at(malloc_usable_size(p) == room, n);
		free(p);
	}
}

struct array {
	void *data; /* all of it is used */
	size_t count;
};

/* Room for one more: all that the block has, before a larger one is asked for. What is new is zero. */
static char *add(struct array *a)
{
	size_t before = usable(&a->data), after;
	void *p;

	if (a->count == before) {
		p = realloc(a->data, 2 * a->count + 1);
		t_need(p != NULL);
		a->data = p;
		after = usable(&a->data);
		t_check_at(after > before, before);
		memset((char *)a->data + before, 0, after - before);
	}
	return (char *)a->data + a->count++;
}

static void growing_arrays(void)
{
	enum { N = 3 };
	struct array a[N] = { { NULL, 0 } };

	for (size_t i = 0; i < 300000; i++)
		for (unsigned k = 0; k < N; k++) {
			char *place = add(&a[k]);

			t_check_at(*place == 0, i);
			*place = (char)(i * 7 + k + 1);
		}
	for (unsigned k = 0; k < N; k++) {
		for (size_t i = 0; i < a[k].count; i++)
			t_check_at(((char *)a[k].data)[i] == (char)(i * 7 + k + 1), i);
		free(a[k].data);
	}
}

/* Past what was asked for, though it is usable. */
static void write_untold(void)
{
	size_t asked = t_hide(100);
	char *p = malloc(asked);

	memset(p, 1, t_hide(malloc_usable_size(p)));
	t_launder(p);
}

static void checks_are_there(void)
{
	int status = 0;
	pid_t child = fork();

	t_need(child >= 0);
	if (child == 0) {
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL); /* the harness has a word to say, too */
		close(2);
		write_untold();
		_exit(0);
	}
	t_need(waitpid(child, &status, 0) == child);
#if defined(__clang__) /* version 14 checks no memset by glibc's headers */
	if (status == 0)
		return;
#endif
	t_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(whole_blocks),
		T_CASE(growing_arrays),
		T_CASE(checks_are_there),
	};

	t_need(t_symbol("hak_malloc") != NULL);
	return t_main(argc, argv, cases, T_COUNT(cases));
}
