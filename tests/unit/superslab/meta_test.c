/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* meta: zeroed, aligned, disjoint memory; refusals leave it as it was. */
#include "superslab/meta.h"

#include <string.h>

#include "fake_os.h"
#include "unit.h"

/* The first pieces come from the library: no system call. */
static void first_chunk_is_free(void)
{
	t_need(hk_meta_alloc(40 * T_KiB, 64) != NULL);
	t_equal(hk_fake_counts().map, 0);
	t_equal(hk_meta_bytes(), 40 * T_KiB);
	t_need(hk_meta_alloc(40 * T_KiB, 64) != NULL);
	t_equal(hk_fake_counts().map, 1);
	t_equal(hk_fake_mapped(), 256 * T_KiB);
}

static void pieces_at(size_t page)
{
	enum { PIECES = 600 };
	static struct {
		char *p;
		size_t bytes;
	} piece[PIECES];
	uint64_t seed = page;
	size_t sum = 0;

	hk_fake_page(page);
	for (unsigned i = 0; i < PIECES; i++) {
		size_t align = (size_t)1 << t_below(&seed, 13);
		size_t bytes = 1 + t_below(&seed, i % 50 == 0 ? 400 * T_KiB : 3000);

		piece[i].p = hk_meta_alloc(bytes, align);
		piece[i].bytes = bytes;
		sum += bytes;
		t_need(piece[i].p != NULL);
		t_check_at(t_aligned(piece[i].p, align) && t_is_zero(piece[i].p, bytes), i);
		t_fill(piece[i].p, bytes, i);
	}
	for (unsigned i = 0; i < PIECES; i++)
		t_check_at(t_holds(piece[i].p, piece[i].bytes, piece[i].bytes, i), i);
	t_equal(hk_meta_bytes(), sum);
	t_equal(hk_fake_counts().unmap, 0);
}

static void pieces_4k(void) { pieces_at(4 * T_KiB); }
static void pieces_64k(void) { pieces_at(64 * T_KiB); }

/* Short of memory: no more is mapped than asked for, and what is left still serves. */
static void refusals(void)
{
	t_need(hk_meta_alloc(60 * T_KiB, 16) != NULL);
	hk_fake_fail_after(1);
	t_check(hk_meta_alloc(8 * T_KiB, 16) == NULL);
	t_equal(hk_fake_counts().map, 2);
	t_equal(hk_meta_bytes(), 60 * T_KiB);
	t_check(hk_meta_alloc(4000, 16) != NULL);
	t_equal(hk_fake_counts().map, 2);
	hk_fake_fail_after(0);
	hk_fake_limit(12 * T_KiB);
	t_check(hk_meta_alloc(10 * T_KiB, 64) != NULL);
	t_equal(hk_fake_mapped(), 12 * T_KiB);
	hk_fake_limit(SIZE_MAX);
	t_check(hk_meta_alloc(10 * T_KiB, 64) != NULL);
}

U_MAIN(T_CASE(first_chunk_is_free), T_CASE(pieces_4k), T_CASE(pieces_64k), T_CASE(refusals))
