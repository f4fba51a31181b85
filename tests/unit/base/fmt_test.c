/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fmt: the same text as the C library's for everything that fmt.h says it understands. */
#include "base/fmt.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#define SAME(...)                                                                                  \
	do {                                                                                       \
		char ours[128], theirs[128];                                                       \
		size_t n_ = hk_fmt(ours, sizeof(ours), __VA_ARGS__);                               \
		int m_ = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                            \
                                                                                                   \
		if (strcmp(ours, theirs) != 0)                                                     \
			t_say("\"%s\", not \"%s\"", ours, theirs);                                 \
		t_check(strcmp(ours, theirs) == 0);                                                \
		t_equal(n_, m_);                                                                   \
	} while (0)

static void numbers(void)
{
	static const long longs[] = { 0, 1, -1, 9, 10, -4711, INT_MAX, LONG_MAX, LONG_MIN };

	for (size_t i = 0; i < T_COUNT(longs); i++) {
		long l = longs[i];
		int d = (int)l;

		SAME("%d %u %x", d, (unsigned)d, (unsigned)d);
		SAME("%ld %lu %lx", l, (unsigned long)l, (unsigned long)l);
		SAME("%lld %llu", (long long)l, (unsigned long long)l);
		SAME("%zd %zu %zx", (ssize_t)l, (size_t)l, (size_t)l);
		SAME("[%12d] [%-12d] [%012d]", d, d, d);
		SAME("[%3ld] [%-24ld] [%024ld] [%24lx]", l, l, l, (unsigned long)l);
	}
}

static void texts(void)
{
	static const char *const words[] = { "", "a", "block", "a text of some more letters" };

	for (size_t i = 0; i < T_COUNT(words); i++) {
		const char *w = words[i];

		SAME("<%s>", w);
		SAME("<%10s> <%-10s>", w, w);
		SAME("<%.3s> <%.0s> <%8.2s> <%-8.2s>", w, w, w, w);
	}
	SAME("%c%c%%%c", 'a', 'b', 'c');
	SAME("<%3c> <%-3c>", 'x', 'y');
	SAME("no conversion at all");
	SAME("%s", "");
	SAME("%d%s%d", 1, "-", 2);
}

static void pointers(void)
{
	char text[64];

	hk_fmt(text, sizeof(text), "%p", (void *)0x7f12345678);
	t_check(strcmp(text, "0x7f12345678") == 0);
	hk_fmt(text, sizeof(text), "%p", NULL);
	t_check(strcmp(text, "0x0") == 0);
	hk_fmt(text, sizeof(text), "%s", (char *)t_launder(NULL));
	t_check(strcmp(text, "(null)") == 0);
}

/* What does not fit is cut, the NUL is there, and not a byte behind the buffer is written. */
static void cuts(void)
{
	char text[40];

	for (size_t size = 1; size <= 32; size++) {
		size_t n;

		memset(text, '#', sizeof(text));
		n = hk_fmt(text, size, "%s %05d %-9lu|%30x", "abcdef", -42, 77ul, 0xabcu);
		t_check_at(n == strlen(text) && n == size - 1, size);
		t_check_at(strncmp(text, "abcdef -0042 77       |          ", n) == 0, size);
		for (size_t i = size; i < sizeof(text); i++)
			t_check_at(text[i] == '#', size);
	}
	memset(text, '#', sizeof(text));
	t_equal(hk_fmt(text, 8, "%999999999d", 5), 7);
	t_check(strcmp(text, "       ") == 0);
}

U_MAIN(T_CASE(numbers), T_CASE(texts), T_CASE(pointers), T_CASE(cuts))
