/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* arena: growth, what stands in its way, refusals, windows, and looking up any pointer. */
#include "superslab/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/options.h"
#include "fake_os.h"
#include "superslab/meta.h"
#include "unit.h"

struct got {
	hk_unit first;
	uint32_t units;
};

/* A growth that must work, checked from all sides. */
static struct got grow(uint32_t units)
{
	struct got g = { HK_NO_UNIT, 0 };
	size_t mapped = hk_arena_mapped();

	t_need(hk_arena_grow(units, &g.first, &g.units));
	t_check_at(g.units >= units, units);
	t_equal(hk_arena_mapped(), mapped + g.units * HK_UNIT_BYTES);
	t_check(hk_fake_has(hk_arena_address(g.first), g.units * HK_UNIT_BYTES));
	for (hk_unit u = g.first; u < g.first + g.units; u++) {
		char *p = hk_arena_address(u);

		t_check_at(hk_page_word(u) == hk_word_kind(HK_KIND_FREE, 0), u);
		t_need(hk_ss_of(u) != NULL);
		t_check_at(t_is_zero(hk_unit_meta(u), sizeof(struct hk_unit_meta)), u);
		t_check_at(hk_arena_unit(p) == u && hk_arena_unit(p + HK_UNIT_BYTES - 1) == u, u);
		t_check_at(t_aligned(p, HK_UNIT_BYTES), u);
	}
	return g;
}

/* AR1, AR2 over the first arena. */
static void check_words(void)
{
	size_t units = 0;

	for (hk_unit u = 0; u < hk_arena_end() + 64; u++) {
		bool mapped = hk_page_word(u) != 0;

		units += mapped;
		t_check_at(hk_fake_has(hk_arena_address(u), HK_UNIT_BYTES) == mapped, u);
		t_check_at(!mapped || hk_ss_of(u) != NULL, u);
	}
	for (hk_unit u = HK_ARENA_UNITS; u < HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS;
	     u++)
		units += hk_page_word(u) != 0;
	t_equal(units * HK_UNIT_BYTES, hk_arena_mapped());
}

static void ar1_ar2_growth(void)
{
	uint32_t units = 0;

	for (uint32_t want = 1; want < 200; want += 7) {
		struct got g = grow(want);

		t_equal(g.first, units); /* in a row, while nobody is in the way */
		units += g.units;
	}
	t_equal(hk_arena_end(), units);
	t_equal(hk_arena_windows(), 0);
	t_check(hk_fake_has(hk_arena_address(0), hk_arena_mapped())); /* one mapping */
	check_words();
}

static void ar1_ar2_growth_64k_pages(void)
{
	hk_fake_page(64 * T_KiB);
	ar1_ar2_growth();
}

/* The first SuperSlab comes in pieces, so that a program that needs little maps little. */
static void first_superslab_in_pieces(void)
{
	hk_unit next = 0;

	for (unsigned i = 0; i < 4; i++) {
		struct got g = grow(1);

		t_equal(g.first, next);
		t_equal(g.units, 8);
		next += 8;
	}
	t_equal(grow(1).units, HK_SS_UNITS);
}

static void larger_steps_later(void)
{
	while (hk_arena_mapped() < 64 * T_MiB)
		grow(16);
	t_equal(grow(1).units, 4 * HK_SS_UNITS);
	t_equal(grow(500).units, 512);
}

/* The kernel's view of "somebody else's": a real mapping that the fake system knows nothing of. */
static void *block_at(hk_unit unit, size_t bytes)
{
	void *p = mmap(hk_arena_address(unit), bytes, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

	t_need(p == hk_arena_address(unit));
	return p;
}

static void skips_what_others_hold(void)
{
	hk_unit wall;
	struct got g;

	grow(32);
	wall = hk_arena_end() + 3;
	block_at(wall, 4096);
	g = grow(32);
	t_check(g.first > wall && g.first % HK_SS_UNITS == 0);
	t_check(hk_page_word(wall) == 0 && hk_arena_unit(hk_arena_address(wall)) == wall);
	t_equal(hk_arena_windows(), 0);
	t_equal(grow(32).first, g.first + g.units);
	/* a long one is skipped as well */
	block_at(hk_arena_end(), 64 * T_MiB);
	g = grow(32);
	t_check(g.first < HK_ARENA_UNITS);
	t_equal(hk_arena_windows(), 0);
	check_words();
}

/* The range can't be had at all: windows around the kernel's own addresses. */
static void windows(void)
{
	struct got g[3];
	size_t mapped = hk_fake_mapped();

	for (unsigned i = 0; i < 3; i++) {
		hk_fake_taken(1000);
		g[i] = grow(1 + 40 * i);
		t_check_at(g[i].first >= HK_ARENA_UNITS && g[i].units % HK_SS_UNITS == 0, i);
		t_check_at(t_aligned(hk_arena_address(g[i].first), HK_SS_BYTES), i);
		mapped += g[i].units * HK_UNIT_BYTES;
	}
	/* the slack of the alignment is unmapped, but for a page on each seam that was found */
	t_check(hk_fake_mapped() - mapped <= 3 * hk_os_page());
	t_check(hk_fake_mapped() == mapped || hk_arena_windows() == 2);
	t_check(hk_arena_windows() == 1 || hk_arena_windows() == 2);
	hk_fake_taken(0);
	t_check(grow(8).first < HK_ARENA_UNITS); /* and back, when it can be had */
}

/* 7 GiB of addresses from the kernel: several windows, and no run across a seam. */
static void many_windows(void)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < 14; i++) {
		struct got g;

		hk_fake_taken(1000);
		if (!hk_arena_grow(8192, &g.first, &g.units)) {
			refused++; /* across a seam */
			mmap(NULL, 256 * T_MiB, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			continue;
		}
		t_check(g.first >= HK_ARENA_UNITS);
		t_equal(g.first / HK_WINDOW_UNITS, (g.first + g.units - 1) / HK_WINDOW_UNITS);
		for (hk_unit u = g.first; u < g.first + g.units; u += 511)
			t_check_at(hk_arena_unit((char *)hk_arena_address(u) + 77) == u, u);
	}
	t_check(hk_arena_windows() >= 2 && refused < 7);
	check_words();
}

static bool unchanged(hk_unit end, size_t mapped)
{
	for (hk_unit u = end; u < end + 256; u++)
		if (hk_page_word(u) != 0)
			return false;
	return hk_arena_end() == end && hk_arena_mapped() == mapped && hk_arena_windows() == 0;
}

/* Refused at every step: false, and nothing has changed; then it works. */
static void refusal_changes_nothing(void)
{
	for (unsigned before = 0; before < 3; before++) {
		for (unsigned n = 1; n <= 4; n++) {
			hk_unit end = hk_arena_end();
			size_t mapped = hk_arena_mapped();
			struct got g;

			hk_fake_fail_after(n);
			if (!hk_arena_grow(40, &g.first, &g.units))
				t_check_at(unchanged(end, mapped), 10 * before + n);
			hk_fake_fail_after(0);
			check_words();
		}
		grow(40);
	}
}

/* Addresses are there, but no memory for the records. */
static void refused_records(void)
{
	hk_unit end;
	size_t mapped, fake;
	struct got g;

	grow(32);
	while (hk_fake_mapped() == hk_arena_mapped())
		t_need(hk_meta_alloc(3000, 16) != NULL); /* till a chunk is begun */
	t_need(hk_meta_alloc(253 * T_KiB, 16) != NULL);
	end = hk_arena_end();
	mapped = hk_arena_mapped();
	fake = hk_fake_mapped();
	for (unsigned i = 0; i < 5; i++) {
		hk_fake_fail_after(2);
		t_check(!hk_arena_grow(32, &g.first, &g.units));
		t_check_at(unchanged(end, mapped), i);
		t_equal(hk_fake_mapped(), fake);
	}
	hk_fake_fail_after(0);
	t_equal(grow(32).first, end);
}

/* Growing well, but only what is asked for is left: that is served. */
static void short_of_memory(void)
{
	struct got g;

	while (hk_arena_mapped() < 64 * T_MiB)
		grow(16);
	t_need(hk_meta_alloc(T_KiB, 16) != NULL);
	hk_fake_limit(hk_fake_mapped() + HK_SS_BYTES);
	t_need(hk_arena_grow(32, &g.first, &g.units));
	t_equal(g.units, 32);
	t_check(!hk_arena_grow(1, &g.first, &g.units));
	check_words();
}

static void look_up_any_pointer(void)
{
	uint64_t seed = 1;
	char local, *base;

	t_equal(hk_arena_unit(NULL), HK_NO_UNIT);
	t_equal(hk_arena_unit((void *)0x12345678), HK_NO_UNIT); /* before there is a base */
	t_equal(hk_arena_unit(&local), HK_NO_UNIT);
	grow(1);
	base = hk_arena_address(0);
	t_equal(hk_arena_unit(base), 0);
	t_equal(hk_arena_unit(base - 1), HK_NO_UNIT);
	t_equal(hk_arena_unit(base + 256 * T_GiB - 1), HK_ARENA_UNITS - 1);
	t_equal(hk_arena_unit(base + 256 * T_GiB), HK_NO_UNIT);
	t_equal(hk_arena_unit(NULL), HK_NO_UNIT);
	t_equal(hk_arena_unit((void *)UINTPTR_MAX), HK_NO_UNIT);
	t_equal(hk_arena_unit(&local), HK_NO_UNIT);
	for (unsigned i = 0; i < 100000; i++) {
		uintptr_t p = t_random(&seed) >> t_below(&seed, 40);
		hk_unit unit = hk_arena_unit((void *)p);
		uintptr_t in = p - (uintptr_t)base;

		t_check(unit == (in < 256 * T_GiB ? in >> 16 : HK_NO_UNIT));
	}
}

static void base_depends_on_seed(void)
{
	hk_fake_seed(1);
	grow(1);
	t_check(t_aligned(hk_arena_address(0), HK_SS_BYTES));
	t_check((uintptr_t)&hk_page_map - (uintptr_t)hk_arena_address(0) > 256 * T_GiB);
	t_check((uintptr_t)&hk_page_map - (uintptr_t)hk_arena_address(0) < 321 * T_GiB);
}

static void prefault(void)
{
	t_equal(hk_option_set("SS_PREFAULT", "POPULATE"), 0);
	grow(1);
	t_equal(hk_fake_counts().populate, 1);
	t_equal(hk_option_set("SS_PREFAULT", "TOUCH"), 0);
	grow(1);
	t_equal(hk_option_set("SS_PREFAULT", "OFF"), 0);
	grow(1);
	t_equal(hk_fake_counts().populate, 1);
}

U_MAIN(T_CASE(ar1_ar2_growth), T_CASE(ar1_ar2_growth_64k_pages), T_CASE(first_superslab_in_pieces),
       T_CASE(larger_steps_later), T_CASE(skips_what_others_hold), T_CASE(windows),
       T_CASE(many_windows), T_CASE(refusal_changes_nothing), T_CASE(refused_records),
       T_CASE(short_of_memory), T_CASE(look_up_any_pointer), T_CASE(base_depends_on_seed),
       T_CASE(prefault))
