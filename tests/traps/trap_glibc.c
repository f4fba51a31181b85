/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What glibc's own allocator answers: the same calls are made here, preloaded, and in a process that
 * is not, and the answers compared line by line. Where versions of glibc differ, hakmem follows one,
 * and the comparison is left to that. */
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define MARK 77 /* an errno that nobody sets */

static char said[64 * T_KiB]; /* lines */
static size_t used;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	used += (size_t)vsnprintf(said + used, sizeof(said) - used, fmt, args);
	va_end(args);
	t_need(used < sizeof(said) - 1);
	said[used++] = '\n';
}

static int libc_minor(void) { return atoi(strchr(gnu_get_libc_version(), '.') + 1); }

/* ---- blocks ----------------------------------------------------------------------------------- */

/* Frees what was given. */
static void answer(void *p, const char *call, size_t a, size_t b)
{
	int err = errno;

	if (p != NULL)
		say("%s(%zx, %zx): a block", call, a, b);
	else
		say("%s(%zx, %zx): NULL, errno %d", call, a, b, err);
	T_FREE(p);
	errno = MARK;
}

static const size_t sizes[] = { 0,
				1,
				100,
				PTRDIFF_MAX - 70000,
				PTRDIFF_MAX - 100,
				PTRDIFF_MAX,
				(size_t)PTRDIFF_MAX + 1,
				SIZE_MAX - 70000,
				SIZE_MAX - 4096,
				SIZE_MAX - 4095,
				SIZE_MAX - 16,
				SIZE_MAX };

static void one_size(void)
{
	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		size_t n = t_hide(sizes[i]);

		answer(T_MALLOC(n), "malloc", n, 0);
		answer(T_REALLOC(NULL, n), "realloc of NULL", n, 0);
		answer(T_VALLOC(n), "valloc", n, 0);
		answer(T_PVALLOC(n), "pvalloc", n, 0);
	}
}

static void products(void)
{
	static const size_t factors[] = {
		0, 1, 3, (size_t)1 << 32, SIZE_MAX / 3, SIZE_MAX / 2 + 1, SIZE_MAX
	};

	for (unsigned i = 0; i < T_COUNT(factors); i++)
		for (unsigned j = 0; j < T_COUNT(factors); j++) {
			size_t c = t_hide(factors[i]), n = t_hide(factors[j]);

			answer(T_CALLOC(c, n), "calloc", c, n);
			answer(T_REALLOCARRAY(NULL, c, n), "reallocarray of NULL", c, n);
		}
}

/* A block of `from` bytes: gone when the answer is NULL and errno as before, else whole. */
static void resized(size_t from, size_t to, size_t size, bool array)
{
	const char *call = array ? "reallocarray" : "realloc";
	char *p = T_MALLOC(from), *q;

	t_need(p != NULL);
	memset(p, 'x', from);
	errno = MARK;
	q = array ? T_REALLOCARRAY(p, to, size) : T_REALLOC(p, to);
	if (q != NULL)
		say("%s of %zu to %zx, %zx: a block", call, from, to, size);
	else if (errno == MARK)
		say("%s of %zu to %zx, %zx: freed", call, from, to, size);
	else
		say("%s of %zu to %zx, %zx: errno %d, and holds %c", call, from, to, size, errno,
		    p[from - 1]);
	if (q != NULL || errno != MARK)
		T_FREE(q != NULL ? q : p);
}

static void resizes(void)
{
	static const size_t from[] = { 1, 24, 1000, 100000, 400000, 40 * T_MiB };

	for (unsigned i = 0; i < T_COUNT(from); i++) {
		for (unsigned j = 0; j < T_COUNT(sizes); j++)
			resized(from[i], t_hide(sizes[j]), 0, false);
		resized(from[i], 0, 0, true);
		resized(from[i], 0, 8, true);
		resized(from[i], t_hide(SIZE_MAX), 0, true);
		resized(from[i], t_hide(SIZE_MAX), 2, true);
		resized(from[i], t_hide((size_t)1 << 63), t_hide(2), true);
	}
}

/* ---- alignment -------------------------------------------------------------------------------- */

/* As glibc rounds; all of many blocks, so that none is aligned by chance. */
static void odd_memalign(size_t alignment)
{
	enum { N = 24 };
	void *p[N];
	size_t want = 16;
	bool aligned = true;

	while (want < alignment)
		want *= 2;
	for (unsigned i = 0; i < N; i++) {
		p[i] = T_MEMALIGN(alignment, 24 + 40 * i);
		t_need(p[i] != NULL);
		aligned = aligned && t_aligned(p[i], want);
	}
	say("memalign(%zu): %s to %zu", alignment, aligned ? "aligned" : "not aligned", want);
	for (unsigned i = 0; i < N; i++)
		T_FREE(p[i]);
	errno = MARK;
}

static void alignments(void)
{
	static const size_t odd[] = { 0,  1,  2,   3,    7,    12,   15,   17,    24,    33,
				      48, 63, 100, 1000, 4095, 4097, 5000, 65535, 65537, 1000000 };
	static const size_t bad[] = { SIZE_MAX,        SIZE_MAX - 4095,       ((size_t)1 << 63) + 1,
				      (size_t)1 << 63, ((size_t)1 << 62) + 1, (size_t)1 << 62 };

	for (unsigned i = 0; i < T_COUNT(odd); i++) {
		odd_memalign(odd[i]);
		for (unsigned j = 0; j < T_COUNT(sizes); j++)
			answer(T_MEMALIGN(odd[i], t_hide(sizes[j])), "memalign", odd[i], sizes[j]);
	}
	for (unsigned i = 0; i < T_COUNT(bad); i++) {
		size_t a = t_hide(bad[i]);

		answer(T_MEMALIGN(a, 100), "memalign", a, 100);
		answer(T_MEMALIGN(a, 0), "memalign", a, 0);
		if (libc_minor() >= 38) /* before, aligned_alloc was memalign */
			answer(T_ALIGNED_ALLOC(a, 100), "aligned_alloc", a, 100);
	}
}

/* glibc sets errno, against POSIX: that is not asked for. */
static void one_posix_memalign(size_t alignment, size_t size)
{
	void *mark = &mark, *p = mark;
	int err = T_POSIX_MEMALIGN(&p, alignment, size);

	say("posix_memalign(%zx, %zx): %d, %s", alignment, size, err,
	    p == mark ? "untouched" : "written");
	if (err == 0)
		T_FREE(p);
}

static void posix_memaligns(void)
{
	static const size_t alignment[] = { 0, 1, 4, 8, 12, 16, 24, 4096, 4097, 65536, SIZE_MAX };

	for (unsigned i = 0; i < T_COUNT(alignment); i++)
		for (unsigned j = 0; j < T_COUNT(sizes); j++)
			one_posix_memalign(alignment[i], t_hide(sizes[j]));
}

/* ---- options ---------------------------------------------------------------------------------- */

static void options(void)
{
	static const int value[] = { INT_MIN, -4096, -1,  0,    1,       2,        8,      64,
				     80,      160,   161, 4096, 1 << 20, 64 << 20, INT_MAX };

	for (int parameter = -20; parameter <= 20; parameter++)
		for (unsigned i = 0; i < T_COUNT(value); i++) {
			if (parameter == M_MXFAST && (unsigned)value[i] > 160 && libc_minor() >= 43)
				continue; /* has no such lists any more, and takes everything */
			errno = MARK;
			say("mallopt(%d, %d): %d, errno %s", parameter, value[i],
			    mallopt(parameter, value[i]), errno == MARK ? "kept" : "set");
		}
	say("malloc_info(1): %d", malloc_info(1, stdout));
	say("malloc_usable_size(NULL): %zu", T_USABLE(NULL));
}

/* Comes last: glibc's next answers may depend on what mallopt has set. */
static void all_answers(void)
{
	errno = MARK;
	one_size();
	products();
	resizes();
	alignments();
	posix_memaligns();
	options();
	one_size();
	resizes();
}

/* ---- the comparison --------------------------------------------------------------------------- */

static char theirs[sizeof(said)];

/* This program again, with the argument "answers", and with nothing preloaded. */
static void ask_glibc(void)
{
	static char name[] = "trap_glibc", what[] = "answers";
	char *const args[] = { name, what, NULL }, *const none[] = { NULL };
	size_t size = 0;
	ssize_t n;
	int out[2], status = 0;
	pid_t child;

	t_need(pipe(out) == 0);
	child = fork();
	t_need(child >= 0);
	if (child == 0) {
		dup2(out[1], 1);
		execve("/proc/self/exe", args, none);
		_exit(9);
	}
	close(out[1]);
	while ((n = read(out[0], theirs + size, sizeof(theirs) - 1 - size)) > 0)
		size += (size_t)n;
	close(out[0]);
	t_need(waitpid(child, &status, 0) == child);
	t_equal(status, 0);
}

static void answers_as_glibc(void)
{
	char *ours = said, *other = theirs;
	unsigned lines = 0;

	t_need(dlsym(RTLD_DEFAULT, "hak_malloc") != NULL);
	all_answers();
	ask_glibc();
	while (*ours != 0 && *other != 0) {
		char *end = strchr(ours, '\n'), *other_end = strchr(other, '\n');

		t_need(end != NULL && other_end != NULL);
		*end = *other_end = 0;
		if (strcmp(ours, other) != 0)
			t_say("hakmem %s; glibc %s", ours, other);
		t_check(strcmp(ours, other) == 0);
		ours = end + 1;
		other = other_end + 1;
		lines++;
	}
	t_check(*ours == 0 && *other == 0);
	t_say("%u answers compared with glibc %s", lines, gnu_get_libc_version());
	t_check(lines > 1000);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(answers_as_glibc) };

	if (argc > 1 && strcmp(argv[1], "answers") == 0) {
		t_need(dlsym(RTLD_DEFAULT, "hak_malloc") == NULL);
		all_answers();
		return write(1, said, used) == (ssize_t)used ? 0 : 2;
	}
	return t_main(argc, argv, cases, T_COUNT(cases));
}
