/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Every size: alignment, usable size, writable to its end, no overlap, calloc's zeros, sized frees. */
#include <string.h>

#include "door.h"

#define EVERY 70000u        /* all sizes up to here */
#define TOP   (600 * T_KiB) /* steps up to here */

/* The sweep: each size to EVERY, then the sizes before, on and behind each half KiB. 0: done. */
static size_t step_size(size_t n)
{
	size_t rest = (n + 1) & 511;

	if (n >= TOP)
		return 0;
	if (n < t_scale(EVERY, 3000) || rest <= 1)
		return n + 1;
	return n + 1 - rest + 511;
}

static void check_block(unsigned char *p, size_t n)
{
	size_t usable = T_USABLE(p);

	t_check_at(t_aligned(p, 16), n);
	t_check_at(usable >= n, n);
	/* No class wastes more than a fifth and a page, and spans round to 64 KiB. */
	t_check_at(usable <= n + n / 4 + 65536, n);
	if (usable == 0)
		return;
	p[0] = 1;
	p[usable - 1] = 2;
	t_check_at(T_USABLE(p) == usable, n);
	t_check_at(p[0] == 1 || usable == 1, n);
}

static void sweep(void)
{
	enum { WINDOW = 64 };
	unsigned char *p[WINDOW] = { NULL };
	size_t n = 0, i = 0;

	do {
		T_FREE(p[i % WINDOW]);
		p[i % WINDOW] = T_MALLOC(n);
		t_need(p[i % WINDOW] != NULL);
		check_block(p[i % WINDOW], n);
		i++;
	} while ((n = step_size(n)) != 0);
	for (i = 0; i < WINDOW; i++)
		T_FREE(p[i]);
}

/* Blocks of one size, each filled to the last usable byte, do not touch each other. */
static void fill_and_check(size_t n, size_t count)
{
	enum { MOST = 3000 };
	static void *p[MOST];

	if (count > MOST)
		count = MOST;
	for (size_t i = 0; i < count; i++) {
		p[i] = i % 3 == 1 ? T_CALLOC(1, n) : T_MALLOC(n);
		t_need(p[i] != NULL);
		t_check_at(i % 3 != 1 || t_is_zero(p[i], n), n);
		t_fill(p[i], T_USABLE(p[i]), i);
	}
	for (size_t i = 0; i < count; i++) {
		size_t usable = T_USABLE(p[i]);

		t_check_at(t_holds(p[i], usable, usable, i), n);
	}
	for (size_t i = 0; i < count; i++)
		T_FREE(p[i]);
}

static void full_blocks(void)
{
	for (size_t n = 0; n <= 1040; n += 8)
		fill_and_check(n, t_scale(600, 50));
	for (size_t n = 1024; n <= 256 * T_KiB; n += n / 8) {
		fill_and_check(n, t_scale(2 * T_MiB, 300000) / n);
		fill_and_check(n + 1, t_scale(2 * T_MiB, 300000) / n);
	}
	for (size_t n = 256 * T_KiB; n <= 48 * T_MiB; n += n / 2)
		fill_and_check(n + 1, 3);
}

/* Whole slabs and more of one class. */
static void many_of_a_class(void)
{
	static const size_t sizes[] = { 1,    16,   17,   48,   64,   112,   256,   1000,
					1024, 1025, 1536, 4096, 5000, 20480, 32768, 32769 };

	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		fill_and_check(sizes[i], t_scale(3000, 300));
}

static void dirty(size_t n, size_t count)
{
	enum { MOST = 400 };
	static void *p[MOST];

	if (count > MOST)
		count = MOST;
	for (size_t i = 0; i < count; i++) {
		p[i] = T_MALLOC(n);
		t_need(p[i] != NULL);
		memset(p[i], 0xff, T_USABLE(p[i]));
	}
	for (size_t i = 0; i < count; i++)
		T_FREE(p[i]);
}

static void zeros(size_t n, size_t count)
{
	enum { MOST = 800 };
	static unsigned char *p[MOST];

	if (count > MOST)
		count = MOST;
	for (size_t i = 0; i < count; i++) {
		p[i] = i & 1 ? T_CALLOC(n, 1) : T_CALLOC(1, n);
		t_need(p[i] != NULL);
		t_check_at(t_is_zero(p[i], n), n);
		memset(p[i], 0xee, T_USABLE(p[i]));
	}
	for (size_t i = 0; i < count; i++)
		T_FREE(p[i]);
}

/* calloc is zero on memory that was dirty a moment ago: cached, flushed, and given back. */
static void calloc_is_zero(void)
{
	size_t step = t_scale(1000, 0) == 1000 ? 1 : 7;

	for (size_t n = 1; n <= 4200; n += step) {
		dirty(n, 8);
		zeros(n, 12);
	}
	for (size_t n = 16; n <= 1024; n += 16) {
		dirty(n, 400);
		zeros(n, 800);
	}
	for (size_t n = 4096; n <= EVERY; n += 509 * step) {
		dirty(n, 8);
		zeros(n, 12);
	}
	for (size_t n = EVERY; n <= 80 * T_MiB; n += n / 2) {
		dirty(n, 2);
		zeros(n, 3);
		T_TRIM();
		zeros(n, 3);
	}
}

/* Two dimensions, so that the product is what is cleared. */
static void calloc_clears_the_product(void)
{
	for (size_t count = 1; count < 70; count += 3)
		for (size_t size = 1; size < 200; size += 13) {
			void *p;

			dirty(count * size, 3);
			p = T_CALLOC(count, size);
			t_need(p != NULL);
			t_check_at(t_is_zero(p, count * size), count * size);
			T_FREE(p);
		}
}

static void sized_frees(void)
{
	size_t n = 0;

	do {
		void *p = T_MALLOC(n);

		t_need(p != NULL);
		T_FREE_SIZED(p, n);
		if (n % 16 == 0) {
			p = T_MALLOC(n);
			t_need(p != NULL);
			T_FREE_SIZED(p, T_USABLE(p)); /* a size that it could have been asked for */
			p = T_CALLOC(1, n);
			t_need(p != NULL);
			T_FREE_SIZED(p, n);
			p = T_REALLOC(T_MALLOC(n / 2 + 1), n + 1);
			t_need(p != NULL);
			T_FREE_SIZED(p, n + 1);
			/* shrunk, perhaps in place */
			p = T_REALLOC(T_MALLOC(n + 1), n - n / 4 + 1);
			t_need(p != NULL);
			T_FREE_SIZED(p, n - n / 4 + 1);
		}
	} while ((n = step_size(n)) != 0);
	for (n = T_MiB; n <= 80 * T_MiB; n += n / 3) {
		T_FREE_SIZED(T_MALLOC(n), n);
		T_FREE_SIZED(T_REALLOC(T_MALLOC(n), n * 2), n * 2);
		T_FREE_SIZED(T_REALLOC(T_MALLOC(n * 2), n), n);
	}
}

static void aligned_sized_frees(void)
{
	for (size_t align = 8; align <= 4 * T_MiB; align *= 2)
		for (size_t n = 0; n <= 40 * T_MiB; n = n * 3 + 1) {
			void *p = T_ALIGNED_ALLOC(align, n);

			t_need(p != NULL);
			T_FREE_ALIGNED_SIZED(p, align, n);
		}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(sweep),
		T_CASE(full_blocks),
		T_CASE(many_of_a_class),
		T_CASE(calloc_is_zero),
		T_CASE(sized_frees),
		T_CASE(aligned_sized_frees),
		T_CASE(calloc_clears_the_product),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
