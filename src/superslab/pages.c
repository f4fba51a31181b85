/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * What free units cost in memory, by the marks of their SuperSlabs. */
#include "superslab/pool.h"

static bool is_pooled(hk_unit unit)
{
	uint32_t word = hk_page_word(unit);

	return hk_word_id(word) == HK_KIND_FREE && (word & HK_WORD_POOLED) != 0;
}

static void add_superslab(hk_unit first, struct hk_pool_pages *sum)
{
	const struct hk_superslab *ss = hk_ss_of(first);

	for (uint32_t i = 0; i < HK_SS_UNITS; i++) {
		size_t bytes;

		if (!is_pooled(first + i) || ss->touched[i] == 0)
			continue;
		bytes = hk_arena_pages(first + i, 1, 0);
		if ((ss->dirty >> i & 1) != 0)
			sum->dirty += bytes;
		else if ((ss->lazy >> i & 1) != 0)
			sum->lazy += bytes;
		else
			sum->prefaulted += bytes;
	}
}

static void add_superslabs(hk_unit unit, hk_unit end, struct hk_pool_pages *sum)
{
	for (; unit < end; unit += HK_SS_UNITS) {
		if (hk_ss_of(unit) != NULL)
			add_superslab(unit, sum);
	}
}

struct hk_pool_pages hk_pool_pages(void)
{
	struct hk_pool_pages sum = { 0 };

	hk_pool_lock();
	add_superslabs(0, hk_arena_end(), &sum);
	add_superslabs(HK_ARENA_UNITS, HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS, &sum);
	hk_pool_unlock();
	return sum;
}
