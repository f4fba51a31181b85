/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* slab: blocks go out and come back, and damage is found where lists are cut. */
#include "slab/slab.h"

#include <string.h>

#include "slab/remote.h"
#include "slab_ops.h"
#include "superslab/pool.h"
#include "unit.h"

#define OWNER 9u

static struct hk_slab *make(unsigned bin, bool zero)
{
	struct hk_run run;

	t_need(hk_pool_take(hk_classes[bin].units, 1, HK_WISH_ZERO, &run));
	return hk_slab_make(bin, OWNER, run.unit, zero);
}

static void s3_words_and_owner(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		struct hk_slab *s = make(bin, true);

		hk_slab_check(s);
		for (uint32_t i = 0; i < s->units; i++) {
			t_check_at(hk_slab_of(s->unit + i) == s, bin);
			t_check_at(hk_page_word(s->unit + i) == hk_word_slab(OWNER, bin), bin);
		}
		hk_slab_set_owner(s, 4711);
		hk_slab_check(s);
		for (uint32_t i = 0; i < s->units; i++)
			t_check_at(hk_word_id(hk_page_word(s->unit + i)) == 4711, bin);
		t_equal(hk_slab_unmake(s), 0);
		for (uint32_t i = 0; i < hk_classes[bin].units; i++)
			t_check_at(hk_page_word(s->unit + i) ==
					   hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SLAB),
				   bin);
		hk_pool_give(s->unit, hk_classes[bin].units, 0);
	}
}

/* How many units may have been touched: as far as blocks were carved. */
static void unmake_counts_touched_units(void)
{
	unsigned bin = hk_class_bin(40 * T_KiB); /* 8 units */
	struct hk_slab *s = make(bin, false);
	struct hk_chain c = HK_CHAIN_EMPTY;

	t_equal(s->units, 8);
	hk_slab_take(s, 3, &c, NULL); /* 120 KiB */
	u_put_chain(s, &c);
	t_equal(hk_slab_unmake(s), 2);
}

/* All blocks are different, start where blocks start, and go back in any order. */
static void s1_s2_random(unsigned bin, uint64_t seed)
{
	static struct hk_block *out[HK_SLAB_MAX_BLOCKS];
	struct hk_slab *s = make(bin, false);
	uint32_t held = 0;

	for (unsigned step = 0; step < 400; step++) {
		struct hk_chain c = HK_CHAIN_EMPTY;
		uint32_t want = 1 + (uint32_t)t_below(&seed, s->capacity);

		if (t_below(&seed, 2) == 0) {
			uint32_t left = s->capacity - held;

			hk_slab_take(s, want, &c, NULL);
			t_equal(c.count, hk_min(want, left));
			for (uint32_t i = 0; i < c.count; i++) {
				struct hk_block *b = c.head;

				c.head = b->link;
				t_check(b->tag == HK_TAG && hk_slab_inside(s, b) == 0);
				memset(b, 0xaa, hk_slab_block_bytes(s));
				out[held++] = b;
			}
			t_check(c.head == HK_END);
		} else if (held != 0) {
			for (uint32_t i = 0; i < want && held != 0; i++) {
				uint32_t which = (uint32_t)t_below(&seed, held);

				hk_chain_push(&c, out[which]);
				out[which] = out[--held];
			}
			u_put_chain(s, &c);
		}
		t_equal(s->used, held);
		t_equal(hk_slab_has_blocks(s), held != s->capacity);
		hk_slab_check(s);
	}
}

static void s1_s2_take_and_put(void)
{
	s1_s2_random(1, 1);
	s1_s2_random(hk_class_bin(48), 2);
	s1_s2_random(hk_class_bin(1024), 3);
	s1_s2_random(hk_class_bin(9000), 4);
	s1_s2_random(hk_class_bin(200000), 5);
}

static void carves_in_address_order(void)
{
	struct hk_slab *s = make(hk_class_bin(1000), false);
	struct hk_chain c = HK_CHAIN_EMPTY;
	const struct hk_block *b;

	hk_slab_take(s, 5, &c, NULL);
	t_check((char *)c.head == hk_slab_start(s));
	for (b = c.head; b->link != HK_END; b = b->link)
		t_check((char *)b->link == (char *)b + 1008);
	t_check(b == c.tail);
	t_equal(s->carved, 5); /* and not more than asked for */
}

/* Mail is opened when the free list is used up, and goes whole; its end is not known. */
static void s2_mail(void)
{
	struct hk_slab *s = make(hk_class_bin(16 * T_KiB), false); /* 8 blocks */
	struct hk_chain all = HK_CHAIN_EMPTY, mail = HK_CHAIN_EMPTY, mine = HK_CHAIN_EMPTY;
	struct hk_chain c = HK_CHAIN_EMPTY;

	t_equal(s->capacity, 8);
	hk_slab_take(s, 8, &all, NULL);
	for (unsigned i = 0; i < 8; i++) {
		struct hk_block *b = all.head;

		all.head = b->link;
		hk_chain_push(i < 3 ? &mail : &mine, b);
	}
	t_check(hk_remote_push(s, &mail));
	t_equal(hk_remote_take(s), 3);
	u_put_chain(s, &mine);
	t_check(s->used == 0 && s->free_blocks == 5 && s->mail_blocks == 3);
	hk_slab_check(s);
	hk_slab_take(s, 7, &c, NULL); /* five, then two of the mail */
	t_equal(c.count, 7);
	t_check(c.tail != NULL && c.tail->link == HK_END);
	hk_slab_check(s);
	c = (struct hk_chain)HK_CHAIN_EMPTY;
	hk_slab_take(s, 4, &c, NULL); /* the one that is left, whole */
	t_check(c.count == 1 && c.tail == NULL);
	t_equal(s->used, 8);
	hk_slab_check(s);
}

static void take_zero(void)
{
	struct hk_slab *s = make(hk_class_bin(2048), true);
	struct hk_chain c = HK_CHAIN_EMPTY;
	struct hk_block *a = hk_slab_take_zero(s), *b = hk_slab_take_zero(s);

	t_check((char *)a == hk_slab_start(s) && (char *)b == (char *)a + 2048);
	t_check(t_is_zero(a, 4096));
	t_equal(s->used, 2);
	hk_chain_push(&c, a);
	u_put_chain(s, &c);
	t_check(hk_slab_take_zero(s) == NULL); /* freed ones first */
	hk_slab_check(s);
	t_check(hk_slab_take_zero(make(hk_class_bin(2048), false)) == NULL);
}

/* Memory that may not be in yet is carved a page at a time, and only when there is nothing else. */
static void carves_by_pages(void)
{
	struct hk_slab *s = make(hk_class_bin(1024), true);
	struct hk_chain c = HK_CHAIN_EMPTY, one = HK_CHAIN_EMPTY;

	hk_slab_take(s, 20, &c, NULL);
	t_equal(c.count, 4);
	hk_chain_push(&one, c.head);
	c = (struct hk_chain)HK_CHAIN_EMPTY;
	u_put_chain(s, &one);
	hk_slab_take(s, 20, &c, NULL);
	t_equal(c.count, 1); /* what came back; and then the rest */
	for (uint32_t out = 4; out < s->capacity; out += 4) {
		c = (struct hk_chain)HK_CHAIN_EMPTY;
		hk_slab_take(s, 20, &c, NULL);
		t_equal(c.count, 4);
		hk_slab_check(s);
	}
	t_check(hk_slab_take_zero(s) == NULL && !hk_slab_has_blocks(s));
	s = make(hk_class_bin(20480), true);
	c = (struct hk_chain)HK_CHAIN_EMPTY;
	hk_slab_take(s, 4, &c, NULL);
	t_equal(c.count, 1);
}

static void inside(void)
{
	struct hk_slab *s = make(hk_class_bin(48), false);
	char *p = hk_slab_start(s);

	t_equal(hk_slab_inside(s, p), 0);
	t_equal(hk_slab_inside(s, p + 47), 47);
	t_equal(hk_slab_inside(s, p + 48), 0);
	t_equal(hk_slab_inside(s, p + 1365 * 48 - 1), 47);
	t_equal(hk_slab_inside(s, p + 1365 * 48), SIZE_MAX); /* 65,536 = 1,365 x 48 + 16 */
	t_equal(hk_slab_inside(s, p + 65535), SIZE_MAX);
}

/* ---- Damage: what the program may do to a free block ---- */

static struct hk_slab *with_free_blocks(struct hk_block **b)
{
	struct hk_slab *s = make(hk_class_bin(48), false);
	struct hk_chain c = HK_CHAIN_EMPTY;

	hk_slab_take(s, 6, &c, NULL);
	for (unsigned i = 0; i < 6; i++) {
		b[i] = c.head;
		c.head = c.head->link;
	}
	c = (struct hk_chain)HK_CHAIN_EMPTY;
	for (unsigned i = 0; i < 5; i++)
		hk_chain_push(&c, b[i]); /* 4 3 2 1 0 */
	u_put_chain(s, &c);
	return s;
}

static void take_three(struct hk_slab *s)
{
	struct hk_chain c = HK_CHAIN_EMPTY;

	hk_slab_take(s, 3, &c, NULL);
}

static void write_tag(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	b[(uintptr_t)arg]->tag = 0;
	take_three(s);
}

static void cut_list(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	b[(uintptr_t)arg]->link = HK_END;
	take_three(s);
}

static void put_one_too_many(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	(void)arg;
	b[5]->tag = HK_TAG;
	hk_slab_put(s, b[5], NULL);
	hk_slab_put(s, b[0], NULL);
}

static void damage_dies(void)
{
	for (uintptr_t i = 2; i < 5; i++) {
		t_check_at(u_dies(write_tag, (void *)i, "hakmem: corrupted free list in slab 0x"),
			   i);
		t_check_at(u_dies(cut_list, (void *)i, " (48 bytes)\n"), i);
	}
	t_check(u_lives(write_tag, (void *)0)); /* beyond what is taken */
	t_check(u_lives(cut_list, (void *)0));
	t_check(u_dies(put_one_too_many, (void *)1, "hakmem: free(): 0x"));
	t_check(u_dies(put_one_too_many, NULL, " (48 bytes) is already free\n"));
}

static void check_ring(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	(void)arg;
	b[0]->link = b[3];
	hk_slab_check(s);
}

static void check_used(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	(void)arg;
	s->used++;
	hk_slab_check(s);
}

static void check_word(void *arg)
{
	struct hk_block *b[6];
	struct hk_slab *s = with_free_blocks(b);

	(void)arg;
	hk_page_set(s->unit, hk_word_slab(OWNER + 1, s->bin));
	hk_slab_check(s);
}

/* The walk of the checked build finds what it is for. */
static void s1_s2_s3_walk(void)
{
	if (HK_CHECK_LEVEL < 3)
		return;
	t_check(u_dies(check_used, NULL, ": S1: "));
	t_check(u_dies(check_ring, NULL, ": S2: "));
	t_check(u_dies(check_word, NULL, ": S3: "));
}

U_MAIN(T_CASE(s3_words_and_owner), T_CASE(unmake_counts_touched_units), T_CASE(s1_s2_take_and_put),
       T_CASE(carves_in_address_order), T_CASE(s2_mail), T_CASE(take_zero), T_CASE(carves_by_pages),
       T_CASE(inside), T_CASE(damage_dies), T_CASE(s1_s2_s3_walk))
