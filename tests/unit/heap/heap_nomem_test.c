/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: memory is refused at each place where the system is asked for it. The answer is NULL, the heap
 * is as before, and everything works when memory is back. */
#include <string.h>

#include "heap_ops.h"
#include "superslab/meta.h"

struct snapshot {
	int64_t out;
	uint64_t blocks_out;
	uint32_t slabs, warm_units, ids;
	size_t granted, free_units, dirty_units, mapped;
	struct {
		uint32_t room, limit, count, partial, full, used, free;
	} class[HK_BINS];
};

static uint32_t add_list(const struct hk_slab_list *list, uint32_t *used, uint32_t *free_blocks)
{
	uint32_t n = 0;

	for (const struct hk_slab *s = list->head; s != NULL; s = s->next, n++) {
		*used += s->used;
		*free_blocks += s->free_blocks + s->mail_blocks;
	}
	return n;
}

static struct snapshot look(const struct hk_heap *h)
{
	struct snapshot now;

	memset(&now, 0, sizeof(now));
	now.out = h->out;
	now.blocks_out = atomic_load(&h->blocks_out);
	now.slabs = h->slabs;
	now.warm_units = h->warm_units;
	now.ids = hk_heap_ids();
	now.granted = h->granted;
	now.mapped = hk_arena_mapped();
	hk_pool_count(&now.free_units, &now.dirty_units);
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		now.class[bin].room = h->face.bin[bin].room;
		now.class[bin].limit = h->face.bin[bin].limit;
		now.class[bin].count = h_count(&h->face.bin[bin]);
		now.class[bin].partial = add_list(&h->class[bin].partial, &now.class[bin].used,
						  &now.class[bin].free);
		now.class[bin].full =
			add_list(&h->class[bin].full, &now.class[bin].used, &now.class[bin].free);
	}
	return now;
}

/* A bin's first limit may be granted on the way: that is no memory. */
static bool is_as_before(const struct hk_heap *h, struct snapshot *before)
{
	struct snapshot now = look(h);

	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		if (now.class[bin].limit - before->class[bin].limit !=
		    now.class[bin].room - before->class[bin].room)
			return false;
		before->class[bin].limit = now.class[bin].limit;
		before->class[bin].room = now.class[bin].room;
	}
	before->granted = now.granted;
	return memcmp(&now, before, sizeof(now)) == 0;
}

/* Takes all that the heap and the pool have, so that the next block needs the system. */
static void use_up(void)
{
	hk_fake_fail_after(1);
	for (unsigned bin = HK_BINS; bin-- > 1;)
		while (h_malloc(hk_class_size(bin)) != NULL)
			;
}

/* A1: every class, with nothing left, again and again. */
static void a1_refill_refused(void)
{
	struct hk_heap *h = hk_heap_here();
	struct snapshot before;
	uint32_t limit;

	for (unsigned i = 0; i < 500; i++)
		t_need(h_malloc(16 + 37 * i % 3000) != NULL);
	use_up();
	h_check();
	before = look(h);
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		t_check_at(h_malloc(hk_class_size(bin)) == NULL, bin);
		t_check_at(hk_heap_take_zero(h, bin) == NULL, bin);
		t_check_at(is_as_before(h, &before), bin);
		h_check();
	}
	limit = h->face.bin[hk_class_bin(64)].limit;
	for (unsigned i = 0; i < 10; i++)
		t_check(h_malloc(64) == NULL);
	t_check(h->face.bin[hk_class_bin(64)].limit <= limit); /* refusals earn no limit */
	hk_fake_fail_after(0);
	for (unsigned bin = 1; bin < HK_BINS; bin++)
		t_check_at(h_malloc(hk_class_size(bin)) != NULL, bin);
	h_check();
}

/* The n-th map fails, and those after it: a program that goes on through all of them. */
static void a1_every_map_fails_once(void)
{
	static void *p[3000];
	struct hk_heap *h = hk_heap_here();
	size_t count = 0;
	unsigned refused = 0;
	uint64_t seed = 1;

	for (unsigned n = 1; n <= 6; n++) {
		hk_fake_fail_every(n);
		for (unsigned i = 0; i < 450 && count < T_COUNT(p); i++) {
			size_t size = 1 + t_below(&seed, i % 3 == 0 ? 200000 : 2000);
			struct snapshot before = look(h);

			p[count] = h_malloc(size);
			if (p[count] == NULL) {
				refused++;
				t_check_at(is_as_before(h, &before), i);
			} else {
				t_fill(p[count], size, count);
				count++;
			}
		}
		h_check();
		hk_fake_fail_every(0);
	}
	t_check(refused > 20 && count > 1000);
	while (count != 0)
		h_free(p[--count]);
	h_check();
}

/* There is some memory, but less than is wished for. */
static void a1_scarce(void)
{
	static void *p[6000];
	size_t count;

	hk_heap_here();
	hk_fake_limit(3 * T_MiB);
	for (unsigned round = 0; round < 4; round++) {
		for (count = 0; count < T_COUNT(p); count++) {
			p[count] = h_malloc(1024);
			if (p[count] == NULL)
				break;
		}
		t_check_at(count >= 2000 && count < T_COUNT(p), count);
		h_check();
		while (count != 0)
			h_free(p[--count]);
		h_check();
	}
}

static void direct_refused(void)
{
	struct hk_heap *h = hk_heap_make_direct();
	struct snapshot before;

	t_need(h != NULL);
	hk_heap_here();
	use_up();
	before = look(h);
	t_check(hk_direct_take(h, hk_class_bin(64), MALLOC) == NULL);
	t_check(is_as_before(h, &before));
	while (hk_meta_alloc(1000, 64) != NULL)
		;
	before = look(h);
	t_check(hk_heap_make_direct() == NULL);
	t_check(is_as_before(h, &before));
	hk_fake_fail_after(0);
	t_check(hk_direct_take(h, hk_class_bin(64), MALLOC) != NULL);
	t_check(hk_heap_make_direct() != NULL);
	h_check();
}

/* Another thread's refusal, with mail and parked slabs to fall back on. */
static void *drop_blocks(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 64; i++)
		h_free(p[i]);
	for (unsigned i = 0; i < 100; i++)
		p[i] = h_malloc(300);
	return NULL;
}

static void mail_and_parked_slabs_serve(void)
{
	static void *p[100];

	for (unsigned i = 0; i < 64; i++)
		p[i] = h_malloc(100);
	h_in_thread(drop_blocks, p);
	use_up(); /* takes those too, and does not lose them */
	h_check();
	t_equal(hk_heap_here()->class[hk_class_bin(100)].partial.head == NULL, true);
	t_equal(atomic_load(&h_slab(p[0])->owner), hk_heap_here()->id); /* adopted */
	t_check(hk_mailbox_is_empty(&hk_heap_here()->mailbox));
}

U_MAIN(T_CASE(a1_refill_refused), T_CASE(a1_every_map_fails_once), T_CASE(a1_scarce),
       T_CASE(direct_refused), T_CASE(mail_and_parked_slabs_serve))
