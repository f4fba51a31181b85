/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* holes: pages of part-used slabs go and come back, and no block is lost, doubled or changed. */
#include "slab/holes.h"

#include <string.h>

#include "fake_os.h"
#include "slab_ops.h"
#include "superslab/pool.h"
#include "unit.h"

static struct hk_slab *make(size_t bytes)
{
	unsigned bin = hk_class_bin(bytes);
	struct hk_run run;

	t_need(hk_pool_take(hk_classes[bin].units, 1, HK_WISH_ZERO, &run));
	return hk_slab_make(bin, 9, run.unit, true);
}

static struct hk_block *out[HK_SLAB_MAX_BLOCKS];
static uint32_t held;

static void take(struct hk_slab *s, uint32_t want)
{
	struct hk_chain c = HK_CHAIN_EMPTY;
	uint32_t left = s->capacity - held;

	while (want != 0 && left != 0) { /* a list whose end is not known ends a take */
		c = (struct hk_chain)HK_CHAIN_EMPTY;
		hk_slab_take(s, want, &c, NULL);
		t_need(c.count != 0 && c.count <= want);
		want -= c.count;
		left -= c.count;
		for (uint32_t i = 0; i < c.count; i++) {
			struct hk_block *b = c.head;

			t_need(b->tag == HK_TAG && hk_slab_inside(s, b) == 0);
			c.head = b->link;
			t_fill(b, hk_slab_block_bytes(s), (uintptr_t)b);
			out[held++] = b;
		}
	}
}

static void put_one(struct hk_slab *s, uint32_t which)
{
	struct hk_chain c = HK_CHAIN_EMPTY;
	size_t size = hk_slab_block_bytes(s);

	t_check(t_holds(out[which], size, size, (uintptr_t)out[which]));
	hk_chain_push(&c, out[which]);
	u_put_chain(s, &c);
	out[which] = out[--held];
}

static void all_hold(const struct hk_slab *s)
{
	size_t size = hk_slab_block_bytes(s);

	for (uint32_t i = 0; i < held; i++) {
		t_check(t_holds(out[i], size, size, (uintptr_t)out[i]));
		t_check(!hk_holes_have(s, out[i]) || size > HK_GRAIN_BYTES);
	}
}

static const size_t sizes[] = { 16,   48,   1024,  1792,  3000,   4096,
				5120, 9000, 20480, 40960, 200000, 262144 };

static void ho1_ho2_random(void)
{
	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		struct hk_slab *s = make(sizes[i]);
		uint64_t seed = i;
		size_t given_back = 0;

		held = 0;
		for (unsigned step = 0; step < 300; step++) {
			size_t want = t_below(&seed, s->capacity + 1u);

			if (t_below(&seed, 3) == 0)
				take(s, (uint32_t)want);
			else
				for (; want != 0 && held != 0; want--)
					put_one(s, (uint32_t)t_below(&seed, held));
			t_equal(s->used, held);
			if (t_below(&seed, 2)) {
				given_back += hk_slab_trim(s);
				t_equal(hk_slab_trim(s), 0);
			}
			t_equal(s->used, held);
			t_equal(hk_slab_has_blocks(s), held != s->capacity);
			hk_slab_check(s);
			all_hold(s);
		}
		/* a page as large as a slab hardly ever goes */
		t_check_at(given_back != 0 || hk_os_page() == HK_UNIT_BYTES, sizes[i]);
	}
}

static void random_with_pages_of(size_t page)
{
	hk_fake_page(page);
	ho1_ho2_random();
}

static void ho1_ho2_random_16k(void) { random_with_pages_of(16 * T_KiB); }
static void ho1_ho2_random_64k(void) { random_with_pages_of(64 * T_KiB); }

/* All but a share in the middle is free; what goes is whole pages, and is counted. */
static void pages_are_counted(void)
{
	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		struct hk_slab *s = make(sizes[i]);
		size_t holes, bytes = hk_align_up(s->capacity * hk_slab_block_bytes(s), 4096);
		size_t keep = sizes[i] < 4096 ? 4096 / sizes[i] + 1 : 1, given_back;

		held = 0;
		take(s, s->capacity);
		t_equal(hk_slab_trim(s), 0);
		t_equal(hk_slab_pages(s, &holes), bytes);
		while (held > keep)
			put_one(s, held - 1);
		given_back = hk_slab_trim(s);
		t_check_at(given_back >= bytes - keep * hk_slab_block_bytes(s) - 2 * 4096 &&
				   given_back < bytes,
			   sizes[i]);
		t_equal(hk_slab_pages(s, &holes), bytes - given_back);
		t_equal(holes, given_back);
		t_equal(hk_fake_counts().purge_lazily, 0);
		take(s, s->capacity - held);
		t_check_at(hk_slab_pages(s, &holes) == bytes && holes == 0, sizes[i]);
		while (held != 0)
			put_one(s, held - 1);
		hk_slab_trim(s);
		t_equal(hk_slab_unmake(s), hk_div_up(bytes, HK_UNIT_BYTES));
		t_check(hk_arena_pages(s->unit, s->units, 0) <= s->units * 4096u);
	}
}

static void refusal_loses_nothing(void)
{
	struct hk_slab *s = make(1024);

	held = 0;
	take(s, s->capacity);
	while (held > 1)
		put_one(s, held - 1);
	hk_fake_refuse_purge(true);
	t_equal(hk_slab_trim(s), 0);
	t_equal(s->hole_blocks, 0);
	hk_slab_check(s);
	hk_fake_refuse_purge(false);
	t_check(hk_slab_trim(s) != 0 && s->hole_blocks != 0);
	take(s, s->capacity - 1u);
	t_equal(held, s->capacity);
}

static struct hk_slab *mostly_free(size_t bytes)
{
	struct hk_slab *s = make(bytes);

	held = 0;
	take(s, s->capacity);
	while (held > 1)
		put_one(s, held - 1);
	return s;
}

static void write_and_take(void *arg)
{
	struct hk_slab *s = arg;
	uint32_t last = s->capacity - 1u;
	char *p = hk_slab_start(s) + last * hk_slab_block_bytes(s);

	t_need(hk_holes_have(s, p));
	p[8] = 1;
	take(s, last);
}

static void free_and_take(void *arg)
{
	struct hk_slab *s = arg;
	uint32_t last = s->capacity - 1u;
	struct hk_chain c = HK_CHAIN_EMPTY;

	hk_chain_push(&c, (void *)(hk_slab_start(s) + last * hk_slab_block_bytes(s)));
	u_put_chain(s, &c);
	held = 0;
	take(s, last);
}

static void trim_damaged(void *arg)
{
	struct hk_slab *s = arg;

	s->free->link->tag = 0;
	hk_slab_trim(s);
}

static void trim_ring(void *arg)
{
	struct hk_slab *s = arg;

	s->free->link->link = s->free;
	hk_slab_trim(s);
}

static void mistakes_are_found(void)
{
	struct hk_slab *s = mostly_free(1024);

	t_check(u_dies(trim_damaged, s, "corrupted free list in slab"));
	t_check(u_dies(trim_ring, s, "corrupted free list in slab"));
	t_need(hk_slab_trim(s) != 0);
	t_check(u_dies(write_and_take, s, "freed twice or written after free"));
	if (HK_CHECK_LEVEL < 2) /* else an invariant is first */
		t_check(u_dies(free_and_take, s, "freed twice or written after free"));
}

U_MAIN(T_CASE(ho1_ho2_random), T_CASE(ho1_ho2_random_16k), T_CASE(ho1_ho2_random_64k),
       T_CASE(pages_are_counted), T_CASE(refusal_loses_nothing), T_CASE(mistakes_are_found))
