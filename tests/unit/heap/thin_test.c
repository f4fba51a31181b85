/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: lean memory gives back pages between blocks as they get fewer, and only then. */
#include "base/options.h"
#include "heap_ops.h"

#define BLOCKS 1000u
#define BYTES  20000u

static char *block[BLOCKS];

static void set(const char *name, const char *value) { t_equal(hk_option_set(name, value), 0); }

static void take_all(size_t bytes)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = h_malloc(bytes);
		t_need(block[i] != NULL);
		t_fill(block[i], bytes, i);
	}
}

static void free_all_but_each(unsigned nth)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (i % nth != 0) {
			h_free(block[i]);
			block[i] = NULL;
		}
	}
}

static uint32_t holes(struct hk_heap *h)
{
	uint32_t sum = 0;

	for (const struct hk_slab *s = h->class[hk_class_bin(BYTES)].partial.head; s != NULL;
	     s = s->next)
		sum += s->hole_blocks;
	return sum;
}

static void check_kept(unsigned nth, size_t bytes)
{
	for (unsigned i = 0; i < BLOCKS; i += nth)
		t_check_at(t_holds(block[i], bytes, bytes, i), i);
}

static void lean_gives_back(void)
{
	struct hk_heap *h = hk_heap_here();

	set("PROFILE", "lean");
	take_all(BYTES);
	t_equal(holes(h), 0);
	free_all_but_each(3);
	/* all but what was freed since the last pass */
	t_check_at(holes(h) >= BLOCKS * 2 / 3 * 3 / 4, holes(h));
	check_kept(3, BYTES);
	h_check();
	take_all(BYTES); /* and can be had again */
	free_all_but_each(2);
	check_kept(2, BYTES);
	h_check();
}

static void others_keep(void)
{
	take_all(BYTES);
	free_all_but_each(3);
	t_equal(holes(hk_heap_here()), 0);
}

static void nothing_without_calls(void)
{
	set("PROFILE", "lean");
	set("SS_MEM_LEAN_DECOMMIT", "OFF");
	take_all(BYTES);
	free_all_but_each(3);
	t_equal(holes(hk_heap_here()), 0);
	t_equal(hk_fake_counts().purge, 0);
}

/* Less than may be held, again and again. */
static void swings_do_not_pay(void)
{
	set("PROFILE", "lean");
	take_all(BYTES);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 50; i++) {
			unsigned k = (round * 50 + i) * 7 % BLOCKS;

			h_free(block[k]);
			block[k] = NULL;
		}
		for (unsigned k = 0; k < BLOCKS; k++) {
			if (block[k] == NULL)
				block[k] = h_malloc(BYTES);
			t_need(block[k] != NULL);
		}
	}
	t_equal(hk_fake_counts().purge, 0);
	h_check();
}

static void *give_others(void *arg)
{
	free_all_but_each(3);
	hk_lock_take(&hk_heap_here()->lock);
	hk_mail_send_all(hk_heap_here());
	hk_lock_drop(&hk_heap_here()->lock);
	return arg;
}

/* The owner sleeps: who collects its mail does it. */
static void helped(void)
{
	struct hk_heap *h = hk_heap_here();

	set("PROFILE", "lean");
	take_all(BYTES);
	h_in_thread(give_others, NULL);
	hk_mail_help(h);
	t_check_at(holes(h) >= BLOCKS * 2 / 3 / 2, holes(h));
	check_kept(3, BYTES);
	h_check();
}

U_MAIN(T_CASE(lean_gives_back), T_CASE(others_keep), T_CASE(nothing_without_calls),
       T_CASE(swings_do_not_pay), T_CASE(helped))
