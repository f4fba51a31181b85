/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* malloc, calloc, realloc, free: zero sizes, sizes that cannot be, products that overflow, errno. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "door.h"

#define MARK 77 /* an errno that nobody sets */

/* One size of each kind of block: tiny, mid, larger classes, span, huge. */
static const size_t kinds[] = { 1,     24,     500,    1024,      1025,      20000,
				32769, 200000, 300000, 5 * T_MiB, 40 * T_MiB };

/* Sizes that no call may satisfy. */
static size_t too_big(unsigned i)
{
	static const size_t sizes[] = { (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
					SIZE_MAX - 65536,    SIZE_MAX - 4096,
					SIZE_MAX - 16,       SIZE_MAX - 15,
					SIZE_MAX - 1,        SIZE_MAX };

	return i < T_COUNT(sizes) ? t_hide(sizes[i]) : 0;
}

/* The door leads to hakmem, not to the libc behind it. */
static void serves(void)
{
	size_t before = t_live(), after;
	void *p = T_MALLOC(8 * T_MiB);

	after = t_live();
	t_check(after >= before + 8 * T_MiB && after < before + 16 * T_MiB);
	T_FREE(p);
	t_check(t_live() < before + 4 * T_MiB);
}

static void zero_is_unique(void)
{
	enum { N = 3000 };
	static unsigned char *p[N];

	for (unsigned i = 0; i < N; i++) {
		switch (i % 4) {
		case 0:
			p[i] = T_MALLOC(0);
			break;
		case 1:
			p[i] = T_CALLOC(0, 8);
			break;
		case 2:
			p[i] = T_CALLOC(8, 0);
			break;
		default:
			p[i] = T_REALLOC(NULL, 0);
		}
		t_need(p[i] != NULL);
		t_check_at(t_aligned(p[i], 16), i);
		memset(p[i], (int)(i % 251), T_USABLE(p[i]));
	}
	for (unsigned i = 0; i < N; i++) {
		size_t n = T_USABLE(p[i]);

		/* Shared blocks would carry the last owner's mark. */
		t_check_at(n == 0 || (p[i][0] == i % 251 && p[i][n - 1] == i % 251), i);
	}
	for (unsigned i = 1; i < N; i++)
		for (unsigned j = i > 40 ? i - 40 : 0; j < i; j++)
			t_check_at(p[i] != p[j], i);
	for (unsigned i = 0; i < N; i++)
		T_FREE(p[i]);
}

static void null_is_nothing(void)
{
	errno = MARK;
	T_FREE(NULL);
	t_equal(errno, MARK);
	t_equal(T_USABLE(NULL), 0);
	T_FREE_SIZED(NULL, 100);
	T_FREE_ALIGNED_SIZED(NULL, 64, 100);
	t_equal(errno, MARK);
}

static void realloc_null_is_malloc(void)
{
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		unsigned char *p = T_REALLOC(NULL, kinds[i]);

		t_need(p != NULL);
		t_check_at(T_USABLE(p) >= kinds[i], kinds[i]);
		p[0] = p[kinds[i] - 1] = 1;
		T_FREE(p);
	}
}

static void realloc_zero_frees(void)
{
	size_t before = t_live();

	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		for (unsigned round = 0; round < 40; round++) {
			void *p = T_MALLOC(kinds[i]);

			t_need(p != NULL);
			errno = MARK;
			t_check_at(T_REALLOC(p, 0) == NULL, kinds[i]);
			t_equal(errno, MARK);
		}
	/* 40 times all kinds is 1.8 GiB: nothing of that is left. */
	t_check(t_live() < before + 8 * T_MiB);
}

static void refused(void *p)
{
	t_check(p == NULL);
	t_equal(errno, ENOMEM);
	errno = MARK;
}

static void too_big_is_enomem(void)
{
	void *out = &out;
	size_t n;

	errno = MARK;
	for (unsigned i = 0; (n = too_big(i)) != 0; i++) {
		refused(T_MALLOC(n));
		refused(T_CALLOC(1, n));
		refused(T_CALLOC(n, 1));
		refused(T_REALLOC(NULL, n));
		refused(T_REALLOCARRAY(NULL, 1, n));
		refused(T_MEMALIGN(64, n));
		refused(T_ALIGNED_ALLOC(64, n));
		refused(T_ALIGNED_ALLOC(T_MiB, n));
		refused(T_VALLOC(n));
		refused(T_PVALLOC(n));
		t_equal(T_POSIX_MEMALIGN(&out, 64, n), ENOMEM);
		t_check(out == &out);
		t_equal(errno, MARK);
	}
}

static void products_overflow(void)
{
	static const struct {
		size_t count, size;
	} products[] = {
		{ SIZE_MAX, 2 },
		{ 2, SIZE_MAX },
		{ SIZE_MAX, SIZE_MAX },
		{ SIZE_MAX / 2 + 1, 2 },
		{ (size_t)1 << 32, (size_t)1 << 32 },
		{ SIZE_MAX / 3 + 1, 3 },
		{ SIZE_MAX / 16 + 2, 16 },
		{ 65536, SIZE_MAX / 65536 + 1 },
	};

	errno = MARK;
	for (unsigned i = 0; i < T_COUNT(products); i++) {
		size_t c = t_hide(products[i].count), n = t_hide(products[i].size);
		unsigned char *p = T_MALLOC(100);

		t_need(p != NULL);
		t_fill(p, 100, i);
		refused(T_CALLOC(c, n));
		refused(T_REALLOCARRAY(NULL, c, n));
		refused(T_REALLOCARRAY(p, c, n));
		t_check_at(t_holds(p, 100, 100, i), i);
		T_FREE(p);
	}
}

static void failed_realloc_keeps_block(void)
{
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		void *p = T_MALLOC(kinds[i]);
		size_t usable, n;

		t_need(p != NULL);
		usable = T_USABLE(p);
		t_fill(p, kinds[i], i);
		for (unsigned j = 0; (n = too_big(j)) != 0; j++) {
			errno = MARK;
			refused(T_REALLOC(p, n));
		}
		t_check_at(t_holds(p, kinds[i], kinds[i], i), kinds[i]);
		t_check_at(T_USABLE(p) == usable, kinds[i]);
		T_FREE(p);
	}
}

static void free_keeps_errno(void)
{
	enum { N = 20000 };
	static void *p[N];

	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		/* Enough blocks that bins are flushed, slabs emptied and memory given back. */
		size_t budget = 64 * T_MiB / kinds[i];
		size_t count = budget < 2 ? 2 : budget > N ? N : budget;

		for (size_t j = 0; j < count; j++) {
			p[j] = T_MALLOC(kinds[i]);
			t_need(p[j] != NULL);
			*(char *)p[j] = 1;
		}
		errno = MARK;
		for (size_t j = 0; j < count; j++)
			T_FREE(p[j]);
		t_equal(errno, MARK);
	}
}

static void *free_all(void *arg)
{
	void **p = arg;

	errno = MARK;
	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		T_FREE(p[i]);
	t_equal(errno, MARK);
	return NULL;
}

static void remote_free_keeps_errno(void)
{
	void *p[T_COUNT(kinds)];

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < T_COUNT(kinds); i++) {
			p[i] = T_MALLOC(kinds[i]);
			t_need(p[i] != NULL);
		}
		t_join(t_thread(free_all, p));
	}
}

static void sized_free_keeps_errno(void)
{
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		void *p = T_MALLOC(kinds[i]), *q = T_ALIGNED_ALLOC(256, kinds[i]);

		t_need(p != NULL && q != NULL);
		errno = MARK;
		T_FREE_SIZED(p, kinds[i]);
		T_FREE_ALIGNED_SIZED(q, 256, kinds[i]);
		t_equal(errno, MARK);
	}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(serves),
		T_CASE(zero_is_unique),
		T_CASE(null_is_nothing),
		T_CASE(realloc_null_is_malloc),
		T_CASE(realloc_zero_frees),
		T_CASE(too_big_is_enomem),
		T_CASE(products_overflow),
		T_CASE(failed_realloc_keeps_block),
		T_CASE(free_keeps_errno),
		T_CASE(remote_free_keeps_errno),
		T_CASE(sized_free_keeps_errno),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
