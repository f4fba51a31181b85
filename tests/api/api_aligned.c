/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* aligned_alloc, posix_memalign, memalign, valloc, pvalloc. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

#define MARK 77

static const size_t sizes[] = {
	0,         1,    8,    15,   16,    17,    33,    100,   512,    1000,   1024,
	1025,      4095, 4096, 4097, 32768, 32769, 65536, 70000, 262145, 300000, 2 * T_MiB + 1,
	33 * T_MiB
};

/* Aligned, big enough, writable, and not on top of the others of its kind. */
static void check_three(void **p, size_t align, size_t n)
{
	for (unsigned i = 0; i < 3; i++) {
		t_need(p[i] != NULL);
		t_check_at(t_aligned(p[i], align), align);
		t_check_at(t_aligned(p[i], 16), align);
		t_check_at(T_USABLE(p[i]) >= n, n);
		t_fill(p[i], T_USABLE(p[i]), align + i);
	}
	t_check_at(p[0] != p[1] && p[1] != p[2] && p[0] != p[2], n);
	for (unsigned i = 0; i < 3; i++)
		t_check_at(t_holds(p[i], T_USABLE(p[i]), T_USABLE(p[i]), align + i), n);
}

static void all_alignments(void)
{
	for (size_t align = 1; align <= T_GiB; align *= 2)
		for (unsigned s = 0; s < T_COUNT(sizes); s++) {
			void *p[3];

			if (align >= 64 * T_MiB && s % 5 != 0)
				continue; /* a few will do: 2 GiB of address space each */
			p[0] = T_ALIGNED_ALLOC(align, sizes[s]);
			p[1] = T_MEMALIGN(align, sizes[s]);
			t_check(T_POSIX_MEMALIGN(&p[2], align < 8 ? 8 : align, sizes[s]) == 0);
			check_three(p, align, sizes[s]);
			T_FREE(p[2]);
			T_FREE(p[0]);
			T_FREE(p[1]);
		}
}

/* Many at once, in an order that leaves holes. */
static void many(void)
{
	enum { N = 1500 };
	static void *p[N];
	static size_t size[N];
	uint64_t seed = 5;

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = round % 3; i < N; i += 1 + round % 2) {
			size_t align = (size_t)1 << t_below(&seed, 18);

			T_FREE(p[i]);
			size[i] = t_below(&seed, i % 10 == 0 ? 100000 : 1500);
			p[i] = T_ALIGNED_ALLOC(align, size[i]);
			t_need(p[i] != NULL);
			t_check_at(t_aligned(p[i], align), align);
			t_fill(p[i], size[i], i);
		}
		for (unsigned i = 0; i < N; i++)
			t_check_at(p[i] == NULL || t_holds(p[i], size[i], size[i], i), i);
	}
	for (unsigned i = 0; i < N; i++)
		T_FREE(p[i]);
}

static void bad_alignments(void)
{
	static const size_t bad[] = {
		0, 3, 5, 6, 7, 9, 12, 24, 48, 100, 4095, 4097, 65537, SIZE_MAX
	};
	static const size_t over[] = { 2 * T_GiB, 64 * T_GiB, (size_t)1 << 47, (size_t)1 << 63 };

	for (unsigned i = 0; i < T_COUNT(bad); i++) {
		errno = MARK;
		t_check_at(T_ALIGNED_ALLOC(t_hide(bad[i]), 100) == NULL, bad[i]);
		t_equal(errno, EINVAL);
	}
	for (unsigned i = 0; i < T_COUNT(over); i++) {
		errno = MARK;
		t_check_at(T_ALIGNED_ALLOC(t_hide(over[i]), 100) == NULL, over[i]);
		t_equal(errno, ENOMEM);
	}
}

static void posix_leaves_out_and_errno_alone(void)
{
	static const size_t bad[] = { 0, 1, 2, 3, 4, 5, 7, 9, 12, 24, 40, 4100, SIZE_MAX };
	static const size_t over[] = { 2 * T_GiB, (size_t)1 << 47, (size_t)1 << 63 };
	void *mark = &mark, *p = mark;

	errno = MARK;
	for (unsigned i = 0; i < T_COUNT(bad); i++) {
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(bad[i]), 100), EINVAL);
		t_check_at(p == mark, bad[i]);
	}
	for (unsigned i = 0; i < T_COUNT(over); i++) {
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(over[i]), 100), ENOMEM);
		t_check_at(p == mark, over[i]);
	}
	t_equal(T_POSIX_MEMALIGN(&p, 64, t_hide(SIZE_MAX - 100)), ENOMEM);
	t_check(p == mark);
	for (size_t align = 8; align < 4 * T_MiB; align *= 4) {
		t_equal(T_POSIX_MEMALIGN(&p, align, 1000), 0);
		t_check_at(p != mark && t_aligned(p, align), align);
		T_FREE(p);
		p = mark;
	}
	t_equal(errno, MARK);
}

static void memalign_rounds_up(void)
{
	static const struct {
		size_t asked, got;
	} pairs[] = { { 0, 1 },       { 3, 4 },       { 5, 8 },          { 17, 32 },
		      { 24, 32 },     { 33, 64 },     { 48, 64 },        { 100, 128 },
		      { 1025, 2048 }, { 5000, 8192 }, { 70000, 131072 }, { 3 * T_MiB, 4 * T_MiB } };

	for (unsigned i = 0; i < T_COUNT(pairs); i++)
		for (unsigned k = 0; k < 20; k++) {
			void *p = T_MEMALIGN(pairs[i].asked, 40 + k * 100);

			t_need(p != NULL);
			t_check_at(t_aligned(p, pairs[i].got), pairs[i].asked);
			T_FREE(p);
		}
	errno = MARK;
	t_check(T_MEMALIGN(t_hide(SIZE_MAX), 100) == NULL);
	t_check(errno == EINVAL || errno == ENOMEM);
}

static void pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned s = 0; s < T_COUNT(sizes); s++) {
		void *v = T_VALLOC(sizes[s]), *w = T_VALLOC(sizes[s]), *pv = T_PVALLOC(sizes[s]);
		size_t whole = (sizes[s] + page - 1) / page * page;

		t_need(v != NULL && w != NULL && pv != NULL);
		t_check_at(v != w && t_aligned(v, page) && t_aligned(w, page), sizes[s]);
		t_check_at(t_aligned(pv, page), sizes[s]);
		t_check_at(T_USABLE(v) >= sizes[s], sizes[s]);
		t_check_at(T_USABLE(pv) >= whole, sizes[s]);
		t_fill(pv, whole, 3);
		t_check_at(t_holds(pv, whole, whole, 3), sizes[s]);
		T_FREE(v);
		T_FREE(w);
		T_FREE(pv);
	}
}

static void realloc_of_aligned(void)
{
	for (size_t align = 16; align <= 8 * T_MiB; align *= 4)
		for (unsigned s = 1; s < T_COUNT(sizes); s++) {
			size_t from = sizes[s], to = sizes[(s * 7 + 3) % T_COUNT(sizes)] + 1;
			void *p = T_ALIGNED_ALLOC(align, from);

			t_need(p != NULL);
			t_fill(p, from, align);
			p = T_REALLOC(p, to);
			t_need(p != NULL);
			t_check_at(t_holds(p, from < to ? from : to, from, align), to);
			t_check_at(T_USABLE(p) >= to, to);
			T_FREE(p);
		}
}

static void *free_it(void *arg)
{
	T_FREE(arg);
	return NULL;
}

static void freed_by_others(void)
{
	for (size_t align = 16; align <= 4 * T_MiB; align *= 2) {
		void *p = T_ALIGNED_ALLOC(align, 3 * align / 2);

		t_need(p != NULL);
		memset(p, 1, 100 < align ? 100 : align);
		t_join(t_thread(free_it, p));
	}
}

/* Blocks of big alignment do not keep the space that was mapped to find them. */
static void nothing_is_left(void)
{
	size_t before = t_live();

	for (unsigned i = 0; i < 300; i++) {
		void *p = T_ALIGNED_ALLOC(64 * T_MiB, 100000);

		t_need(p != NULL);
		*(char *)p = 1;
		T_FREE(p);
	}
	t_check(t_live() < before + T_MiB);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(all_alignments),     T_CASE(many),
		T_CASE(bad_alignments),     T_CASE(posix_leaves_out_and_errno_alone),
		T_CASE(memalign_rounds_up), T_CASE(pages),
		T_CASE(realloc_of_aligned), T_CASE(freed_by_others),
		T_CASE(nothing_is_left),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
