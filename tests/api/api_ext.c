/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What only the hak_ names have: good sizes, batches, zeroed and aligned variants. */
#include <errno.h>
#include <string.h>

#include "door.h"

#define MARK 77

static void good_size_is_usable_size(void)
{
	for (size_t n = 0; n <= 600 * T_KiB; n += n < 5000 ? 1 : 97) {
		void *p = hak_malloc(n);

		t_need(p != NULL);
		t_check_at(hak_good_size(n) == hak_malloc_usable_size(p), n);
		hak_free(p);
	}
	for (size_t n = T_MiB - 1; n <= 100 * T_MiB; n += n / 3) {
		void *p = hak_malloc(n);

		t_need(p != NULL);
		t_check_at(hak_good_size(n) == hak_malloc_usable_size(p), n);
		hak_free(p);
	}
}

static void good_size_is_a_fixed_point(void)
{
	for (size_t n = 0; n <= 100 * T_MiB; n += n / 50 + 1) {
		size_t good = hak_good_size(n);

		t_check_at(good >= n && hak_good_size(good) == good, n);
		t_check_at(hak_good_size(n + 1) >= good, n);
	}
	t_equal(hak_good_size((size_t)PTRDIFF_MAX + 1), 0);
	t_equal(hak_good_size(SIZE_MAX), 0);
	t_equal(hak_good_size(SIZE_MAX - 15), 0);
}

static void at_least(void)
{
	for (size_t n = 0; n <= 64 * T_MiB; n += n / 20 + 1) {
		struct hak_sized_ptr b = hak_malloc_at_least(n);

		t_need(b.ptr != NULL);
		t_check_at(b.size >= n, n);
		t_check_at(b.size == hak_malloc_usable_size(b.ptr), n);
		t_fill(b.ptr, b.size, n);
		t_check_at(t_holds(b.ptr, b.size, b.size, n), n);
		hak_free_sized(b.ptr, b.size);
	}
	errno = MARK;
	t_check(hak_malloc_at_least(t_hide(SIZE_MAX)).ptr == NULL);
	t_equal(errno, ENOMEM);
	t_equal(hak_malloc_at_least(t_hide(SIZE_MAX)).size, 0);
}

static void batches(void)
{
	enum { MOST = 5000 };
	static void *out[MOST + 1];
	static const size_t sizes[] = { 0, 1, 16, 64, 100, 1024, 1025, 20000, 100000, 300000 };

	for (unsigned s = 0; s < T_COUNT(sizes); s++)
		for (size_t count = 0; count <= MOST; count = count * 3 + 1) {
			if (count * sizes[s] > 100 * T_MiB)
				break;
			out[count] = &out;
			t_equal(hak_malloc_batch(sizes[s], count, out), count);
			t_check(out[count] == &out); /* not one more */
			for (size_t i = 0; i < count; i++) {
				t_need(out[i] != NULL);
				t_check_at(t_aligned(out[i], 16), sizes[s]);
				t_check_at(hak_malloc_usable_size(out[i]) >= sizes[s], sizes[s]);
				t_fill(out[i], sizes[s], i);
			}
			for (size_t i = 0; i < count; i++)
				t_check_at(t_holds(out[i], sizes[s], sizes[s], i), sizes[s]);
			for (size_t i = 1; i < count; i += 3) {
				hak_free(out[i]); /* a batch is just blocks */
				out[i] = NULL;
			}
			errno = MARK;
			hak_free_batch(count, out);
			t_equal(errno, MARK);
		}
	errno = MARK;
	t_equal(hak_malloc_batch(t_hide(SIZE_MAX), 3, out), 0);
	t_equal(errno, ENOMEM);
}

static void *free_the_batch(void *arg)
{
	void **blocks = arg;

	hak_free_batch(3000, blocks);
	return NULL;
}

static void batch_of_another_thread(void)
{
	static void *out[3000];
	size_t before = t_live();

	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 3000; i += 3) {
			t_equal(hak_malloc_batch(64, 2, out + i), 2);
			out[i + 2] = hak_malloc(i * 20);
		}
		t_join(t_thread(free_the_batch, out));
	}
	t_check(t_live() < before + 32 * T_MiB); /* 5 rounds are 150 MB */
}

static void zeroed(void)
{
	for (size_t n = 1; n <= 40 * T_MiB; n += n / 10 + 1) {
		void *p[4];

		for (unsigned i = 0; i < 4; i++) {
			p[i] = hak_malloc(n);
			t_need(p[i] != NULL);
			memset(p[i], 0xff, hak_malloc_usable_size(p[i]));
		}
		for (unsigned i = 0; i < 4; i++)
			hak_free(p[i]);
		for (unsigned i = 0; i < 4; i++) {
			size_t align = (size_t)8 << (n % 11);

			p[i] = i & 1 ? hak_aligned_zalloc(align, n) : hak_zalloc(n);
			t_need(p[i] != NULL);
			t_check_at(t_is_zero(p[i], n), n);
			t_check_at(!(i & 1) || t_aligned(p[i], align), n);
		}
		for (unsigned i = 0; i < 4; i++)
			hak_free(p[i]);
	}
	errno = MARK;
	t_check(hak_zalloc(t_hide(SIZE_MAX)) == NULL);
	t_equal(errno, ENOMEM);
	errno = MARK;
	t_check(hak_aligned_zalloc(t_hide(48), 10) == NULL);
	t_equal(errno, EINVAL);
}

static void aligned_realloc(void)
{
	static const size_t sizes[] = { 1,      100,        5000,      40,         70000,
					300000, 200,        3 * T_MiB, 40 * T_MiB, 33 * T_MiB,
					1000,   90 * T_MiB, 17 };

	for (size_t align = 1; align <= 16 * T_MiB; align *= 2) {
		size_t from = sizes[0];
		void *p = hak_aligned_realloc(NULL, align, from);

		for (unsigned i = 0; i < T_COUNT(sizes); i++) {
			t_need(p != NULL);
			t_fill(p, from, i);
			p = hak_aligned_realloc(p, align, sizes[i]);
			t_need(p != NULL);
			t_check_at(t_aligned(p, align), align);
			t_check_at(hak_malloc_usable_size(p) >= sizes[i], sizes[i]);
			t_check_at(t_holds(p, sizes[i], from, i), sizes[i]);
			from = sizes[i];
		}
		t_fill(p, from, 9);
		errno = MARK;
		t_check(hak_aligned_realloc(p, align, t_hide(SIZE_MAX)) == NULL);
		t_equal(errno, ENOMEM);
		t_check_at(t_holds(p, from, from, 9), align);
		errno = MARK;
		t_check(hak_aligned_realloc(p, align, 0) == NULL); /* frees */
		t_equal(errno, MARK);
	}
	errno = MARK;
	t_check(hak_aligned_realloc(NULL, t_hide(24), 100) == NULL);
	t_equal(errno, EINVAL);
}

static void names_mix(void)
{
	/* Blocks of one function may be given to any other one. */
	for (size_t n = 1; n < 2 * T_MiB; n = n * 3 + 5) {
		void *p = hak_aligned_zalloc(64, n);

		p = hak_reallocarray(p, n, 2);
		t_need(p != NULL && t_is_zero(p, n));
		hak_free(p);
		p = hak_aligned_realloc(hak_memalign(128, n), 128, n * 3);
		t_need(p != NULL);
		hak_free_aligned_sized(p, 128, n * 3);
		hak_free_sized(hak_zalloc(n), n);
	}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(good_size_is_usable_size),
		T_CASE(good_size_is_a_fixed_point),
		T_CASE(at_least),
		T_CASE(batches),
		T_CASE(batch_of_another_thread),
		T_CASE(zeroed),
		T_CASE(aligned_realloc),
		T_CASE(names_mix),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
