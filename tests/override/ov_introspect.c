/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * mallinfo, mallinfo2, mallopt, malloc_trim, malloc_stats, malloc_info tell one story. glibc names,
 * so not for musl. Preloaded, linked, static. */
#include "ov.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>

enum { BLOCKS = 2000, BYTES = 1000 };

static void check_mallinfo(void)
{
	static void *block[BLOCKS];
	struct mallinfo2 before = mallinfo2(), after;
	struct mallinfo small;

	for (int i = 0; i < BLOCKS; i++)
		block[i] = memset(malloc(BYTES), 1, BYTES);
	after = mallinfo2();
	OV_CHECK(after.arena == after.uordblks + after.fordblks);
	OV_CHECK(after.uordblks >= before.uordblks + BLOCKS * BYTES);
	OV_CHECK(after.keepcost <= after.arena);
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	small = mallinfo();
	OV_CHECK(small.uordblks > 0 && (size_t)small.arena >= BLOCKS * BYTES);
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
}

static void check_huge(void)
{
	void *huge = malloc(ov_hide_size((size_t)3 << 30));
	struct mallinfo2 m = mallinfo2();
	struct mallinfo small = mallinfo();

	if (huge == NULL)
		return; /* a machine or a limit too small for it */
	OV_CHECK(m.hblks >= 1 && m.hblkhd >= (size_t)3 << 30);
	OV_CHECK(small.hblkhd == INT32_MAX); /* stands still instead of wrapping */
	free(ov_hide(huge));
}

static void check_mallopt(void)
{
	OV_CHECK(mallopt(M_MXFAST, 64) == 1 && mallopt(M_MXFAST, 0) == 1);
	OV_CHECK(mallopt(M_MXFAST, 161) == 0 && mallopt(M_MXFAST, -1) == 0);
	OV_CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1 && mallopt(M_ARENA_MAX, 1) == 1);
	OV_CHECK(mallopt(4711, 0) == 1);
}

/* The number in `name`'s last element, or in its first one. */
static size_t size_in(const char *text, const char *element, int last)
{
	const char *at = strstr(text, element), *next = at;

	while (last && next != NULL) {
		at = next;
		next = strstr(at + 1, element);
	}
	OV_CHECK(at != NULL && (at = strstr(at, "size=\"")) != NULL);
	return strtoull(at + 6, NULL, 10);
}

/* Enough of an XML parser to see tags that don't close. */
static int is_balanced(const char *text)
{
	int depth = 0, most = 0;

	for (const char *p = text; (p = strchr(p, '<')) != NULL; p++) {
		const char *end = strchr(p, '>');

		if (end == NULL || memchr(p + 1, '<', (size_t)(end - p - 1)) != NULL)
			return 0;
		if (p[1] == '/')
			depth--;
		else if (end[-1] != '/')
			depth++;
		most = depth > most ? depth : most;
		if (depth < 0)
			return 0;
	}
	return depth == 0 && most == 3;
}

static void check_malloc_info(void)
{
	char text[8192] = "";
	FILE *f = tmpfile();

	OV_CHECK(f != NULL && malloc_info(1, f) == EINVAL && malloc_info(0, f) == 0);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	OV_CHECK(strncmp(text, "<malloc version=\"1\">\n", 21) == 0 && is_balanced(text));
	OV_CHECK(size_in(text, "type=\"rest\"", 0) == size_in(text, "type=\"rest\"", 1));
	OV_CHECK(size_in(text, "<system type=\"current\"", 0) >= size_in(text, "type=\"rest\"", 0));
	OV_CHECK(size_in(text, "<system type=\"current\"", 0) ==
		 size_in(text, "<aspace type=\"total\"", 1));
}

static void *stats(void *arg)
{
	malloc_stats();
	return arg;
}

/* In glibc it is no cancellation point: what it says is said to the end. */
static void *stats_when_cancelled(void *arg)
{
	pthread_cancel(pthread_self());
	malloc_stats();
	pthread_testcancel();
	return arg;
}

static void check_malloc_stats(void *(*how)(void *), void *result)
{
	char text[4096] = "";
	FILE *f = tmpfile();
	int saved = dup(2);
	pthread_t thread;
	void *got;

	OV_CHECK(f != NULL && saved >= 0);
	fflush(stderr);
	dup2(fileno(f), 2);
	OV_CHECK(pthread_create(&thread, NULL, how, NULL) == 0);
	OV_CHECK(pthread_join(thread, &got) == 0 && got == result);
	fflush(stderr);
	dup2(saved, 2);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	OV_CHECK(strstr(text, "Arena 0:\nsystem bytes     = ") == text);
	OV_CHECK(strstr(text, "\nTotal (incl. mmap):\nsystem bytes     = ") != NULL);
	OV_CHECK(strstr(text, " parked)\n") != NULL);
}

int main(void)
{
	check_mallinfo();
	check_huge();
	check_mallopt();
	check_malloc_info();
	check_malloc_stats(stats, NULL);
	check_malloc_stats(stats_when_cancelled, PTHREAD_CANCELED);
	malloc_trim(0);
	OV_CHECK(malloc_trim(0) == 0); /* nothing is left to give back */
	return 0;
}
