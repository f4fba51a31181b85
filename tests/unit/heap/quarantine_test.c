/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* quarantine: hardened heaps take and free, what waits is bounded and counted, and nothing is lost. */
#include "heap/quarantine.h"

#include <string.h>

#include "heap_ops.h"

static struct hk_heap *h;

static void start(void)
{
	hk_harden_init();
	h = hk_heap_make_hardened(true);
	t_need(h != NULL && h->hardened && h->first_class && hk_heap_is_direct(h));
}

static char *take(size_t n) { return hk_hard_take(h, hk_class_bin(n + HK_CANARY_BYTES), MALLOC); }
static void drop(void *p) { hk_hard_free(h, h_slab(p), p, FREE); }

/* The walker; and D is what the pool and the heaps hold, the quarantine included. */
static void check(void)
{
	h_check();
	h_say_all();
	h_check();
}

static void q1_not_at_once(void)
{
	char *p, *q;

	start();
	p = take(100);
	memset(p, 1, 100);
	drop(p);
	t_check(t_is_zero(p, 112));
	for (unsigned i = 0; i + 1 < HK_QUARANTINE_BLOCKS; i++) {
		q = take(100);
		t_check_at(q != p, i);
		drop(q);
	}
	t_equal(h->quarantine->count, HK_QUARANTINE_BLOCKS);
	check();
	drop(take(100)); /* now it has left */
	t_equal(h->quarantine->count, HK_QUARANTINE_BLOCKS);
	t_check(!hk_hard_slab_is_out(h_slab(p), p));
	check();
}

static void q2_bounded(void)
{
	uint64_t seed = 3;
	char *slot[300] = { NULL };

	start();
	for (unsigned i = 0; i < 30000; i++) {
		unsigned at = (unsigned)t_below(&seed, T_COUNT(slot));

		if (slot[at] != NULL) {
			drop(slot[at]);
			slot[at] = NULL;
			t_check_at(h->quarantine->bytes <= HK_QUARANTINE_BYTES ||
					   h->quarantine->count == 1,
				   i);
		} else {
			size_t n = 1 + t_below(&seed, t_below(&seed, 20) == 0 ? 200000 : 2000);

			slot[at] = take(n);
			t_need(slot[at] != NULL);
			t_check_at(t_is_zero(slot[at], n), i);
			memset(slot[at], 0xaa, n);
		}
		if (i % 1000 == 0)
			check();
	}
	for (unsigned i = 0; i < T_COUNT(slot); i++) {
		if (slot[i] != NULL)
			drop(slot[i]);
	}
	check();
	t_check(h->quarantine->count > 1);
	t_check(hk_release_held() >= h->quarantine->bytes);
	t_check(hk_release_live() == 0);
	hk_quarantine_empty(h);
	t_equal(h->quarantine->count, 0);
	t_equal(h->out, 0);
	check();
	hk_heap_unmake_direct(h);
	check();
	t_equal(hk_fake_counts().guard, hk_fake_counts().unguard);
}

static void twice(void *arg)
{
	drop(arg);
	drop(arg);
}
static void behind(void *arg)
{
	((char *)arg)[104] ^= 1;
	drop(arg);
}
static void *drop_it(void *arg)
{
	drop(arg);
	return NULL;
}
static void twice_by_another(void *arg)
{
	drop(arg);
	h_in_thread(drop_it, arg);
}
static void write_and_turn_over(void *arg)
{
	char *p = arg;

	drop(p);
	p[50] = 1;
	for (unsigned i = 0; i < 3 * HK_QUARANTINE_BLOCKS; i++)
		drop(take(100));
}
/* The slab goes before the block is taken again. */
static void write_and_empty(void *arg)
{
	char *p = arg, *more[2000];

	for (unsigned i = 0; i < T_COUNT(more); i++)
		more[i] = take(100);
	for (unsigned i = 0; i < T_COUNT(more); i++)
		drop(more[i]);
	drop(p);
	p[50] = 1;
	hk_quarantine_empty(h);
	hk_lock_take(&h->lock);
	hk_heap_shed(h);
	hk_lock_drop(&h->lock);
}
static void destroy(void *arg)
{
	((char *)arg)[104] ^= 1;
	hk_heap_unmake_direct(h);
}

static void mistakes(void)
{
	char *p;

	start();
	p = take(100);
	t_check(u_dies(twice, p, "(104 bytes) is already free"));
	t_check(u_dies(twice_by_another, p, "(104 bytes) is already free"));
	t_check(u_dies(behind, p, "overflow behind block"));
	t_check(u_dies(write_and_turn_over, p, "was freed twice or written after free"));
	t_check(u_dies(write_and_empty, p, "was freed twice or written after free"));
	t_check(u_dies(destroy, p, "overflow behind block"));
	drop(p);
	check();
}

static struct hk_span *span(uint32_t units)
{
	bool zero;
	struct hk_span *s = hk_span_take(units, 1, true, 0, &zero);

	t_need(s != NULL && zero);
	hk_span_harden(s);
	memset(hk_arena_address(s->unit), 3, 5000);
	return s;
}

static void bury(struct hk_span *s)
{
	hk_span_bury(s, FREE);
	hk_quarantine_add_span(h, s);
}

static void touch(void *arg) { *(volatile char *)arg = 1; }

static void q3_spans(void)
{
	size_t free_units, dirty;
	struct u_end end;

	start();
	for (unsigned i = 0; i < 4 * HK_QUARANTINE_SPANS; i++) {
		struct hk_span *s = span(5 + i % 3);

		bury(s);
		u_child(touch, hk_arena_address(s->unit), &end);
		t_check_at(end.status != 0, i);
		check();
	}
	t_equal(h->quarantine->spans, HK_QUARANTINE_SPANS);
	bury(span(400));
	bury(span(400));
	bury(span(400));
	t_check(h->quarantine->units <= HK_QUARANTINE_UNITS);
	check();
	hk_quarantine_empty(h);
	t_equal(h->quarantine->units, 0);
	hk_pool_count(&free_units, &dirty);
	t_equal(dirty, 0); /* their pages are gone */
	check();
}

static void write_to_buried(void *arg)
{
	struct hk_span *s = arg;

	bury(s);
	touch((char *)hk_arena_address(s->unit) + 70000);
	hk_quarantine_empty(h);
}

static void spans_without_guards(void)
{
	struct hk_span *s;

	hk_fake_no_guards(true);
	start();
	t_check(u_dies(write_to_buried, span(5), "was freed twice or written after free"));
	hk_fake_refuse_purge(true);
	t_check(u_dies(write_to_buried, span(5), "was freed twice or written after free"));
	s = span(5);
	bury(s);
	t_check(t_is_zero(hk_arena_address(s->unit), hk_span_bytes(s)));
	hk_quarantine_empty(h);
	t_equal(hk_fake_counts().guard, 0);
	check();
}

/* The end of a heap: with blocks out, others in quarantine, and a span of each kind. */
static void unmake(void)
{
	for (unsigned round = 0; round < 5; round++) {
		bool zero;
		struct hk_span *s;
		char *live;

		start();
		for (unsigned i = 0; i < 3000; i++) {
			char *p = take(200);

			if (i % 3 == 0)
				drop(p);
		}
		s = hk_span_take(9, 1, false, h->id, &zero);
		hk_span_harden(s);
		h->spans = s;
		bury(span(7));
		check();
		live = take(200);
		memset(live, 0x77, 200);
		hk_heap_unmake_direct(h);
		check();
		t_check(t_is_zero(live, 200));
		t_equal(hk_release_live(), 0);
	}
}

/* Few blocks in quarantine do not pin many slabs: these give their pages back. */
static void pages_are_not_pinned(void)
{
	enum { COUNT = 4000, SIZE = 1000 };
	static char *p[COUNT];
	size_t purged;

	start();
	for (unsigned i = 0; i < COUNT; i++) {
		p[i] = take(SIZE);
		memset(p[i], 1, SIZE);
	}
	purged = hk_fake_purged();
	/* every slab keeps one block for the end, and so some of them in quarantine at the end */
	for (unsigned i = 0; i < COUNT; i++) {
		if (i % 40 != 0)
			drop(p[i]);
	}
	for (unsigned i = 0; i < COUNT; i += 40)
		drop(p[i]);
	t_check(h->slabs > 20); /* pinned */
	t_check(hk_fake_purged() - purged > (h->slabs / 2) * HK_UNIT_BYTES / 2);
	check();
}

/* A heap that was hardened serves as one that is not, and the other way round. */
static void id_is_used_again(void)
{
	struct hk_heap *plain;
	void *p;

	start();
	take(64);
	hk_heap_unmake_direct(h);
	plain = hk_heap_make_direct();
	t_check(plain == h && !plain->hardened);
	p = hk_direct_take(plain, hk_class_bin(64), MALLOC);
	t_check(!hk_word_is_hardened(hk_page_word(hk_arena_unit(p))));
	hk_direct_free(plain, h_slab(p), p, FREE);
	hk_heap_unmake_direct(plain);
	start();
	t_check(h == plain);
	drop(take(64));
	check();
}

static void no_memory(void)
{
	char *p[2000];
	unsigned count = 0;

	start();
	drop(take(5000)); /* there is a slab */
	hk_fake_limit(hk_fake_mapped());
	while (count < T_COUNT(p) && (p[count] = take(5000)) != NULL)
		count++;
	t_check(count < T_COUNT(p));
	check();
	for (unsigned i = 0; i < count; i++)
		drop(p[i]);
	check();
	t_check(hk_heap_gather(SIZE_MAX) != 0); /* empties the quarantine */
	t_equal(h->quarantine->count, 0);
	t_check(take(5000) != NULL);
	check();
}

U_MAIN(T_CASE(q1_not_at_once), T_CASE(q2_bounded), T_CASE(mistakes), T_CASE(q3_spans),
       T_CASE(spans_without_guards), T_CASE(unmake), T_CASE(pages_are_not_pinned),
       T_CASE(id_is_used_again), T_CASE(no_memory))
