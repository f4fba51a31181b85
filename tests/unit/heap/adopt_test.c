/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: threads that come and go: parking, adoption, forwarded mail, threads without a heap, and the
 * starve switch. */
#include <limits.h>
#include <string.h>

#include "heap_ops.h"
#include "superslab/meta.h"

#define COUNT 300

static char *block[COUNT];
static struct hk_heap *theirs;

static void *allocate(void *arg)
{
	size_t n = (uintptr_t)arg;

	theirs = hk_heap_here();
	t_equal(hk_heaps_running(), 2);
	for (unsigned i = 0; i < COUNT; i++) {
		block[i] = h_malloc(n);
		t_need(block[i] != NULL);
		t_fill(block[i], n, i);
	}
	return NULL;
}

/* A thread that leaves COUNT blocks behind. */
static void leave_blocks(size_t n)
{
	hk_heap_here();
	h_in_thread(allocate, (void *)n);
	t_equal(atomic_load(&theirs->state), HK_HEAP_PARKED);
	t_check(theirs->front == NULL);
	t_equal(hk_heaps_running(), 1);
	t_equal(hk_heaps_parked(), 1);
}

static void h6_parked_is_empty(void)
{
	leave_blocks(100);
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hk_bin *b = &theirs->face.bin[bin];

		t_check_at(b->head == HK_END && b->limit == 0 && b->room == 0, bin);
	}
	t_equal(theirs->granted, 0);
	t_equal(theirs->warm_units, 0);
	t_equal(theirs->out, COUNT * 112);
	h_check();
	for (unsigned i = 0; i < COUNT; i++) {
		t_check_at(t_holds(block[i], 100, 100, i), i);
		h_free(block[i]);
	}
	hk_lock_take(&hk_heap_here()->lock);
	hk_mail_send_all(hk_heap_here());
	hk_lock_drop(&hk_heap_here()->lock);
	hk_mail_help(theirs); /* nobody runs it: whoever comes by collects */
	t_equal(theirs->out, 0);
	t_equal(theirs->slabs, 0);
	h_check();
}

static void *note_heap(void *arg)
{
	*(struct hk_heap **)arg = hk_heap_here();
	h_free(h_malloc(40));
	return NULL;
}

/* The most recently parked heap goes first, and there are no more heaps than threads at a time. */
static void h6_heaps_are_reused(void)
{
	struct hk_heap *first, *again, *mine = hk_heap_here();
	uint32_t ids;

	h_in_thread(note_heap, &first);
	t_check(first != mine);
	ids = hk_heap_ids();
	for (unsigned i = 0; i < 200; i++) {
		h_in_thread(note_heap, &again);
		t_check_at(again == first, i);
	}
	t_equal(hk_heap_ids(), ids);
	t_equal(hk_heap_ids(), HK_FIRST_ID + 3); /* orphan, mine, theirs */
	t_check(hk_heap_here() == mine);
	h_check();
}

/* A heap that needs memory takes the slabs of parked ones, and the words follow. */
static void adoption(void)
{
	struct hk_heap *mine = hk_heap_here();
	size_t mapped;
	char *p;

	leave_blocks(100);
	mapped = hk_arena_mapped();
	p = h_malloc(100);
	t_check(h_slab(p) == h_slab(block[0]));
	t_equal(atomic_load(&h_slab(p)->owner), mine->id);
	t_equal(hk_word_id(hk_page_word(hk_arena_unit(p))), mine->id);
	t_check(theirs->slabs == 0 && theirs->out == 0 && mine->slabs == 1);
	h_check();
	for (unsigned i = 0; i < COUNT; i++) {
		t_check_at(t_holds(block[i], 100, 100, i), i);
		h_free(block[i]); /* mine now */
	}
	h_free(p);
	h_check();
	t_equal(hk_arena_mapped(), mapped);
	h_say_all();
	t_equal(atomic_load(&hk_out), mine->out);
}

static void other_classes_are_not_adopted(void)
{
	leave_blocks(100);
	h_malloc(200);
	t_equal(atomic_load(&h_slab(block[0])->owner), theirs->id);
	h_check();
}

/* A way of a slab that was adopted meanwhile: sent to myself, and collected. */
static void adopted_with_a_way(void)
{
	struct hk_heap *mine = hk_heap_here();
	struct hk_slab *s;
	uint16_t used;

	leave_blocks(100);
	s = h_slab(block[0]);
	for (unsigned i = 0; i < 10; i++)
		h_free(block[i]);
	used = s->used;
	h_malloc(100); /* adopts */
	t_equal(atomic_load(&s->owner), mine->id);
	h_check();
	hk_lock_take(&mine->lock);
	hk_mail_send_all(mine);
	t_check(!hk_mailbox_is_empty(&mine->mailbox) && hk_mail_drain(mine));
	hk_lock_drop(&mine->lock);
	t_check(s->used >= used - 10 && hk_remote_is_quiet(s));
	h_check();
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
	t_equal(atomic_load(&mine->mail_bytes), 0);
}

static void *hold_lock(void *lock)
{
	hk_lock_take(lock);
	return NULL;
}

/* Mail that waits for a parked heap comes along with the slab. */
static void adoption_takes_mail_along(void)
{
	struct hk_heap *mine = hk_heap_here();
	struct hk_slab *s;

	leave_blocks(100);
	s = h_slab(block[0]);
	h_in_thread(hold_lock, &theirs->lock); /* so that the sender can't help */
	for (unsigned i = 0; i < 64; i++)
		h_free(block[i]);
	t_check(!hk_mailbox_is_empty(&theirs->mailbox));
	t_equal(atomic_load(&theirs->mail_bytes), 64 * 112);
	atomic_store(&theirs->lock.state, 0);
	h_malloc(100);
	t_equal(atomic_load(&s->owner), mine->id);
	t_check(hk_remote_is_quiet(s) && hk_mailbox_is_empty(&theirs->mailbox));
	t_equal(atomic_load(&theirs->mail_bytes), 0);
	h_check();
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
}

/* RM1, RM2: a sender has pushed its blocks, and looked at the owner; then the slab is adopted, and the
 * token gets to the old owner. It goes on to the new one. */
static void rm1_rm2_forwarded_mail(void)
{
	struct hk_heap *mine = hk_heap_here();
	struct hk_chain c = HK_CHAIN_EMPTY;
	struct hk_slab *s;

	leave_blocks(100);
	s = h_slab(block[0]);
	for (unsigned i = 0; i < 64; i++)
		hk_chain_push(&c, (struct hk_block *)(void *)block[i]);
	hk_heap_count_flying(mine, 64 * 112);
	t_check(hk_remote_push(s, &c));
	h_malloc(100);
	t_equal(atomic_load(&s->owner), mine->id);
	hk_mailbox_push(&theirs->mailbox, s);
	h_check();
	hk_mail_help(theirs); /* forwards */
	t_check(hk_mailbox_is_empty(&theirs->mailbox) && !hk_mailbox_is_empty(&mine->mailbox));
	t_check((atomic_load(&s->remote) & HK_REMOTE_QUEUED) != 0);
	t_equal(atomic_load(&theirs->mail_bytes), 0);
	t_equal(atomic_load(&mine->mail_bytes), 64 * 112);
	hk_lock_take(&mine->lock);
	t_check(hk_mail_drain(mine));
	hk_lock_drop(&mine->lock);
	t_check(hk_remote_is_quiet(s) && s->mail_blocks == 64);
	t_equal(atomic_load(&mine->mail_bytes), 0);
	h_check();
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
}

/* ---- Threads without a heap ---- */

static void *live_without_a_heap(void *arg)
{
	struct hk_heap *h = hk_heap_here();
	char *p = h_malloc(100), *q;

	t_check(h == hk_heap_orphan() && hk_front.heap == h);
	t_check(hk_front.face == NULL && hk_front.tiny_limit == 0 && hk_front.match == 0);
	t_need(p != NULL);
	t_equal(atomic_load(&h_slab(p)->owner), h->id);
	h_free(*(void **)arg); /* another's: sent at once */
	q = h_malloc(100);
	h_free(p);
	*(void **)arg = q;
	return NULL;
}

static void no_memory_for_a_heap(void)
{
	void *p = h_malloc(100);
	struct hk_slab *s = h_slab(p);

	hk_fake_fail_after(1);
	while (hk_meta_alloc(1000, 64) != NULL)
		;
	h_in_thread(live_without_a_heap, &p);
	t_check(!hk_remote_is_quiet(s));
	t_equal(hk_heaps_running(), 1);
	h_free(p); /* the orphan's */
	t_equal(hk_heap_orphan()->out, 0);
	h_check();
}

static void no_key(void)
{
	pthread_key_t key;
	void *p;

	for (unsigned i = 0; i <= PTHREAD_KEYS_MAX && pthread_key_create(&key, NULL) == 0; i++)
		;
	p = h_malloc(100); /* the first thread does without */
	t_check(hk_heap_here() != hk_heap_orphan());
	h_in_thread(live_without_a_heap, &p);
	t_equal(hk_heaps_running(), 1);
	t_equal(hk_heaps_parked(), 1);
	h_free(p);
	h_check();
}

static pthread_key_t late_key;
static _Atomic unsigned late;

static void free_late(void *p)
{
	if (atomic_fetch_add(&late, 1) == 0) {
		pthread_setspecific(late_key, p); /* a later round: the heap is parked by then */
		return;
	}
	t_check(hk_front.heap == hk_heap_orphan());
	h_free(p);
	h_free(h_malloc(50));
}

static void *die_late(void *arg)
{
	(void)arg;
	pthread_setspecific(late_key, h_malloc(100));
	return NULL;
}

/* Destructors that run after the heap was parked. */
static void late_destructors(void)
{
	hk_heap_here();
	t_equal(pthread_key_create(&late_key, free_late), 0);
	h_in_thread(die_late, NULL);
	t_equal(atomic_load(&late), 2);
	h_check();
	t_equal(hk_heap_orphan()->out, 0);
}

/* The loader may clear a thread's words after they were in use. */
static void h3_words_are_found_again(void)
{
	struct hk_heap *h = hk_heap_here();

	memset(&hk_front, 0, sizeof(hk_front));
	t_check(hk_heap_here() == h);
	t_check(hk_front.face == &h->face && hk_front.match == h->id << HK_WORD_ID_SHIFT);
	t_equal(hk_heaps_running(), 1);
}

/* ---- The starve switch ---- */

static bool is_starved(void)
{
	return hk_front.tiny_limit == 0 && hk_front.match == HK_NOBODY << HK_WORD_ID_SHIFT;
}

static bool is_fast(void)
{
	return hk_front.tiny_limit == HK_TINY_MAX && hk_front.match == hk_heap_here()->id
									       << HK_WORD_ID_SHIFT;
}

static _Atomic unsigned stage;

static void *watch(void *arg)
{
	(void)arg;
	hk_heap_here();
	t_check(is_fast());
	for (unsigned s = 1; s < 4; s++) {
		atomic_store(&stage, 2 * s - 1);
		while (atomic_load(&stage) != 2 * s)
			t_sleep_ms(1);
		t_check_at(s == 1 ? is_starved() : is_fast(), s);
		h_free(h_malloc(48));
	}
	return NULL;
}

static void *be_born_starved(void *arg)
{
	(void)arg;
	hk_heap_here();
	t_check(is_starved() && hk_front.face == &hk_front.heap->face);
	return NULL;
}

static void h3_starve(void)
{
	pthread_t thread;

	hk_heap_here();
	thread = t_thread(watch, NULL);
	for (unsigned s = 1; s < 4; s++) {
		while (atomic_load(&stage) != 2 * s - 1)
			t_sleep_ms(1);
		hk_heap_starve(s == 1);
		t_check_at(hk_heap_is_starved() == (s == 1), s);
		t_check_at(s == 1 ? is_starved() : is_fast(), s);
		if (s == 1)
			h_in_thread(be_born_starved, NULL);
		h_free(h_malloc(48));
		atomic_store(&stage, 2 * s);
	}
	t_join(thread);
	h_check();
}

U_MAIN(T_CASE(h6_parked_is_empty), T_CASE(h6_heaps_are_reused), T_CASE(adoption),
       T_CASE(other_classes_are_not_adopted), T_CASE(adopted_with_a_way),
       T_CASE(adoption_takes_mail_along), T_CASE(rm1_rm2_forwarded_mail),
       T_CASE(no_memory_for_a_heap), T_CASE(no_key), T_CASE(late_destructors),
       T_CASE(h3_words_are_found_again), T_CASE(h3_starve))
