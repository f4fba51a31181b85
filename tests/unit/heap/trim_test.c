/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: what a heap that has freed much of what it had gives back of its part-used slabs, and when not. */
#include "heap_ops.h"

#define COUNT 1200u
#define BYTES ((size_t)20480)

static void *block[COUNT];

static void set(const char *name, const char *value) { t_equal(hk_option_set(name, value), 0); }

static void fill(void)
{
	for (uint32_t i = 0; i < COUNT; i++) {
		if (block[i] == NULL)
			block[i] = h_malloc(BYTES);
		t_need(block[i] != NULL);
		t_fill(block[i], BYTES, i);
	}
}

/* All but `percent` of them, those that stay scattered. */
static void keep(uint32_t percent)
{
	uint64_t seed = 5;

	for (uint32_t i = 0; i < COUNT; i++) {
		t_check_at(t_holds(block[i], BYTES, BYTES, i), i);
		if (t_below(&seed, 100) < percent)
			continue;
		h_free(block[i]);
		block[i] = NULL;
	}
	h_check();
}

static size_t holes(void) { return (size_t)atomic_load(&hk_holes); }

static void half_is_a_fall(void)
{
	set("BOUND", "1M");
	fill();
	keep(60);
	t_equal(holes(), 0);
	fill();
	keep(30);
	t_check_at(holes() > COUNT * BYTES / 4, holes());
	fill();
	t_check_at(holes() < COUNT * BYTES / 16, holes()); /* what was free goes out first */
	keep(0);
	t_equal(holes(), 0); /* with their slabs */
}

static void an_eighth_in_lean(void)
{
	set("PROFILE", "lean");
	fill();
	keep(80);
	t_check_at(holes() > COUNT * BYTES / 16, holes());
}

static void not_below_the_bound(void)
{
	set("BOUND", "100M");
	fill();
	keep(10);
	t_equal(holes(), 0);
}

static size_t holes_of_a_fall(size_t bytes, uint32_t left)
{
	static void *small[60000];

	set("BOUND", "1M");
	for (uint32_t i = 0; i < T_COUNT(small); i++)
		small[i] = h_malloc(bytes);
	for (uint32_t i = 0; i < T_COUNT(small); i++) {
		if (i % left != 0)
			h_free(small[i]);
	}
	h_check();
	return holes();
}

/* A page of several blocks is hardly ever all free, before nearly all of them are. */
static void thick_slabs(void) { t_equal(holes_of_a_fall(600, 4), 0); }

static void thin_slabs(void)
{
	size_t found = holes_of_a_fall(600, 512);

	t_check_at(found > T_MiB, found);
}

/* A slab that was trimmed, and has filled up again, is trimmed again. */
static void again_after_filling_up(void)
{
	size_t first;

	set("BOUND", "1M");
	fill();
	keep(20);
	first = holes();
	t_check(first != 0);
	hk_fake_advance_ms(1500);
	fill();
	keep(25);
	t_check_at(holes() > first / 2, holes());
}

/* To walk over the lists of those takes longer than it is worth. */
static void not_of_the_smallest(void) { t_equal(holes_of_a_fall(200, 512), 0); }

/* What is wanted again within a second should have stayed: then nothing is trimmed for ten. */
static void regret(void)
{
	set("BOUND", "1M");
	fill();
	keep(30);
	t_check(holes() != 0);
	hk_fake_advance_ms(500);
	fill();
	keep(30);
	t_equal(holes(), 0);
	hk_fake_advance_ms(9000);
	fill();
	keep(30);
	t_equal(holes(), 0);
	hk_fake_advance_ms(1000);
	fill();
	keep(30);
	t_check(holes() != 0);
}

static void late_is_no_regret(void)
{
	set("BOUND", "1M");
	fill();
	keep(30);
	hk_fake_advance_ms(1500);
	fill();
	keep(30);
	t_check(holes() != 0);
}

static void refused(void)
{
	set("BOUND", "1M");
	fill();
	hk_fake_refuse_purge(true);
	keep(30);
	t_equal(holes(), 0);
	fill();
	keep(0);
}

U_MAIN(T_CASE(half_is_a_fall), T_CASE(an_eighth_in_lean), T_CASE(not_below_the_bound),
       T_CASE(thick_slabs), T_CASE(thin_slabs), T_CASE(again_after_filling_up),
       T_CASE(not_of_the_smallest), T_CASE(regret), T_CASE(late_is_no_regret), T_CASE(refused))
