/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* hard_slab: which blocks are out, in what order they come, and what is zero when. */
#include "slab/hard_slab.h"

#include <string.h>

#include "fake_os.h"
#include "superslab/pool.h"
#include "unit.h"

#define OWNER 9u

static struct hk_hard_spares spares;
static uint64_t random_state = 1;
static void *got[HK_SLAB_MAX_BLOCKS];

static struct hk_slab *make(unsigned bin, bool zero)
{
	struct hk_hard_slab *record = hk_hard_slab_record(&spares, bin);
	struct hk_run run;
	struct hk_slab *s;

	t_need(record != NULL);
	t_need(hk_pool_take(hk_classes[bin].units, 1, HK_WISH_ZERO, &run));
	memset(hk_arena_address(run.unit), zero ? 0 : 0xd1, hk_classes[bin].units * HK_UNIT_BYTES);
	s = hk_slab_make(bin, OWNER, run.unit, zero);
	hk_hard_slab_make(s, record);
	return s;
}

static void unmake(struct hk_slab *s)
{
	hk_hard_slab_spare(&spares, hk_hard_slab_unmake(s));
	s->used = 0;
	hk_pool_give(s->unit, s->units, hk_slab_unmake(s));
}

static void *take(struct hk_slab *s)
{
	bool intact = false;
	void *p = hk_hard_slab_take(s, &random_state, &intact);

	t_need(p != NULL);
	t_check(intact);
	return p;
}

/* Takes every block, in every class: all different, zero, with a canary, and the slab is full. */
static void take_all(unsigned bin, bool zero)
{
	struct hk_slab *s = make(bin, zero);
	size_t usable = hk_hard_slab_usable(s);
	uint32_t count = 0;

	t_equal(usable, hk_class_size(bin) - 8);
	while (hk_slab_has_blocks(s)) {
		got[count] = take(s);
		t_check_at(t_is_zero(got[count], usable), bin);
		t_check_at(hk_slab_inside(s, got[count]) == 0, bin);
		memset(got[count], 0x5a, usable); /* two that are one show */
		count++;
	}
	t_equal(count, s->capacity);
	t_equal(s->used, count);
	hk_slab_check(s);
	hk_hard_slab_verify(s, (struct hk_offence){ "free", NULL });
	for (uint32_t i = 0; i < count; i++) {
		t_check_at(hk_hard_slab_is_out(s, got[i]), bin);
		hk_hard_slab_retire(s, got[i]);
		t_check_at(!hk_hard_slab_is_out(s, got[i]), bin);
		t_check_at(t_is_zero(got[i], usable + 8), bin);
		if (i % 2 == 0)
			hk_hard_slab_settle(s, got[i]);
	}
	hk_slab_check(s);
	t_equal(s->used, count / 2);
	t_equal(s->free_blocks, count - count / 2);
	t_check(hk_hard_slab_find_damage(s) == NULL);
	unmake(s);
}

static void hd2_every_class(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		take_all(bin, true);
		take_all(bin, false);
	}
	t_equal(hk_fake_counts().guard, hk_fake_counts().unguard);
}

static void words_say_hardened(void)
{
	struct hk_slab *s = make(hk_class_bin(40 * T_KiB), true);

	for (uint32_t i = 0; i < s->units; i++) {
		t_check_at(hk_word_is_hardened(hk_page_word(s->unit + i)), i);
		t_check_at(hk_word_bin(hk_page_word(s->unit + i)) == s->bin, i);
		t_check_at(hk_word_id(hk_page_word(s->unit + i)) == OWNER, i);
	}
	unmake(s);
	s = hk_slab_make(s->bin, OWNER, s->unit, false);
	t_check(!hk_word_is_hardened(hk_page_word(s->unit)));
}

/* Not in address order, and not twice the same; but near each other as long as few are out. */
static void order_is_random(void)
{
	struct hk_slab *s = make(hk_class_bin(64), true);
	unsigned rising = 0, same = 0;
	char *first[100];

	for (unsigned i = 0; i < 100; i++) {
		first[i] = take(s);
		rising += i != 0 && first[i] > first[i - 1];
		t_check_at((size_t)(first[i] - hk_slab_start(s)) < 16 * T_KiB, i);
	}
	t_check_at(rising > 25 && rising < 75, rising);
	unmake(s);
	s = make(hk_class_bin(64), true);
	for (unsigned i = 0; i < 100; i++)
		same += (char *)take(s) - hk_slab_start(s) == first[i] - hk_slab_start(s);
	t_check_at(same < 20, same);
	unmake(s);
}

/* What settles may come again; what is only retired may not. */
static void retired_blocks_wait(void)
{
	struct hk_slab *s = make(hk_class_bin(5000), true);
	void *p = take(s);

	hk_hard_slab_retire(s, p);
	while (hk_slab_has_blocks(s))
		t_check(take(s) != p);
	hk_hard_slab_settle(s, p);
	t_check(hk_slab_has_blocks(s));
	t_check(take(s) == p);
	unmake(s);
}

/* A write to a free block is seen when it is taken, and when the slab is looked through. */
static void hd3_damage(size_t size, size_t at)
{
	struct hk_slab *s = make(hk_class_bin(size), false);
	char *p = take(s);
	bool intact = true;

	hk_hard_slab_retire(s, p);
	hk_hard_slab_settle(s, p);
	t_check(hk_hard_slab_find_damage(s) == NULL);
	p[at] = 1;
	t_check(hk_hard_slab_find_damage(s) == p);
	while (hk_slab_has_blocks(s)) {
		void *q = hk_hard_slab_take(s, &random_state, &intact);

		t_check(intact == (q != p));
	}
	t_check(hk_hard_slab_find_damage(s) == NULL); /* it is out */
	unmake(s);
}

static void hd3_any_byte(void)
{
	static const size_t sizes[] = { 16, 64, 1000, 1024, 5000, 100000, 256 * T_KiB };

	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		size_t whole = hk_class_size(hk_class_bin(sizes[i]));

		hd3_damage(sizes[i], 0);
		hd3_damage(sizes[i], whole / 2);
		hd3_damage(sizes[i], whole - 1);
	}
}

static void touch(void *arg) { *(volatile char *)arg = 1; }

static void last_page_is_a_guard(void)
{
	struct hk_slab *s = make(hk_class_bin(64), true);
	char *end = hk_slab_start(s) + HK_UNIT_BYTES;
	struct u_end child;

	t_equal(s->capacity, (HK_UNIT_BYTES - 4096) / 64);
	u_child(touch, end - 4096, &child);
	t_check(child.status != 0);
	touch(end - 4097);
	unmake(s);
	touch(end - 4096); /* the next user of the unit has all of it */
	hk_fake_no_guards(true);
	s = make(hk_class_bin(64), true);
	t_equal(s->capacity, HK_UNIT_BYTES / 64);
	touch(end - 1);
	unmake(s);
}

/* Pages of a slab without a live block go back; its blocks in quarantine stay what they are. */
static void spent_slab_gives_pages_back(void)
{
	struct hk_slab *s = make(hk_class_bin(1000), true);
	size_t purged = hk_fake_purged();
	void *p[40];

	for (unsigned i = 0; i < 40; i++) {
		p[i] = take(s);
		memset(p[i], 1, 900);
	}
	for (unsigned i = 0; i < 40; i++) {
		t_check_at(!hk_hard_slab_is_spent(s), i);
		hk_hard_slab_retire(s, p[i]);
	}
	t_check(hk_hard_slab_is_spent(s));
	hk_hard_slab_purge(s);
	t_check(!hk_hard_slab_is_spent(s));
	t_check(hk_fake_purged() >= purged + 40 * 1008);
	hk_slab_check(s);
	for (unsigned i = 0; i < 40; i++)
		hk_hard_slab_settle(s, p[i]);
	t_check(hk_hard_slab_find_damage(s) == NULL);
	unmake(s);
}

/* Records are used again, and fit. */
static void records(void)
{
	struct hk_hard_slab *small = hk_hard_slab_record(&spares, hk_class_bin(256 * T_KiB));
	struct hk_hard_slab *large = hk_hard_slab_record(&spares, hk_class_bin(16));

	t_equal(small->words, 1);
	t_equal(large->words, 64);
	hk_hard_slab_spare(&spares, small);
	hk_hard_slab_spare(&spares, large);
	t_check(hk_hard_slab_record(&spares, hk_class_bin(16)) == large);
	t_check(hk_hard_slab_record(&spares, hk_class_bin(16)) != large);
	t_check(hk_hard_slab_record(&spares, hk_class_bin(128 * T_KiB)) == small);
}

U_MAIN(T_CASE(hd2_every_class), T_CASE(words_say_hardened), T_CASE(order_is_random),
       T_CASE(retired_blocks_wait), T_CASE(hd3_any_byte), T_CASE(last_page_is_a_guard),
       T_CASE(spent_slab_gives_pages_back), T_CASE(records))
