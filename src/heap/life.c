/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "heap/life.h"

#include <errno.h>

#include "base/tele.h"
#include "heap/quarantine.h"
#include "os/thread.h"
#include "slab/holes.h"
#include "slab/huge.h"
#include "superslab/release.h"

/* How many parked heaps are asked for slabs, and how many slabs are taken at once. */
#define ADOPT_HEAPS 16u
#define ADOPT_SLABS 4u

/* Bit a bin: some parked heap may have blocks of it. A hint. */
static _Atomic uint64_t parked_bins[2];

static void park(void *heap);

void hk_heap_set_front(struct hk_front *front, uint32_t id, bool starved)
{
	uint32_t match = (starved ? HK_NOBODY : id) << HK_WORD_ID_SHIFT;

	__atomic_store_n(&front->tiny_limit, starved ? 0 : HK_TINY_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&front->match, match, __ATOMIC_RELAXED);
}

void hk_heap_open_front(struct hk_heap *h, bool starved)
{
	hk_front.face = &h->face;
	hk_front.heap = h;
	if (HK_TELE_LEVEL >= 1)
		hk_lock_call_own(&h->lock);
	hk_heap_set_front(&hk_front, h->id, starved);
}

void hk_heap_close_front(struct hk_heap *orphan)
{
	hk_front.face = NULL;
	hk_front.heap = orphan;
	__atomic_store_n(&hk_front.tiny_limit, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&hk_front.match, 0, __ATOMIC_RELAXED);
}

static HK_NOINLINE struct hk_heap *be_born(void)
{
	int saved = errno; /* the C library's calloc inside may set it */
	struct hk_heap *h;

	h = hk_heap_claim();
	if (h == NULL) {
		hk_heap_close_front(hk_heap_orphan());
		return hk_front.heap;
	}
	/* May call malloc, which the heap serves already. The first heap is the main thread's, as a
	 * rule, and does without being told of its end. */
	if (!hk_thread_at_exit(park, h) && hk_heaps_running() > 1)
		park(h);
	errno = saved;
	return hk_front.heap;
}

struct hk_heap *hk_heap_here(void)
{
	struct hk_heap *h = hk_front.heap;

	return HK_LIKELY(h != NULL) ? h : be_born();
}

/* What there is to adopt; with h's lock. */
static void note_parked(struct hk_heap *h)
{
	uint64_t bits[2] = { 0, 0 };

	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		if (h->class[bin].partial.head != NULL || h->frozen)
			bits[bin / 64] |= 1ull << bin % 64;
	}
	for (unsigned i = 0; i < 2; i++)
		atomic_store_explicit(&h->parked_bins[i], bits[i], memory_order_relaxed);
}

/* That there is; when h is on the stack of parked heaps, where it is looked for. */
static void publish_parked(struct hk_heap *h)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t bits = atomic_load_explicit(&h->parked_bins[i], memory_order_relaxed);

		atomic_fetch_or_explicit(&parked_bins[i], bits, memory_order_relaxed);
	}
}

void hk_heap_publish_parked(struct hk_heap *h)
{
	note_parked(h);
	publish_parked(h);
}

/* What a thread sends with its last words may reach heaps that no thread looks after. */
static void help_parked(void)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		if (atomic_load_explicit(&h->state, memory_order_relaxed) == HK_HEAP_PARKED &&
		    !hk_mailbox_is_empty(&h->mailbox))
			hk_mail_help(h);
	}
}

void hk_heap_empty(struct hk_heap *h)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		hk_heap_flush(h, bin, 0, NULL);
		hk_heap_ungrant(h, bin);
	}
	hk_mail_send_all(h);
	hk_heap_grant_bigcache(h, 0);
}

/* The destructor of a thread. Others may still allocate after this one: the orphan heap serves them.
 * Waiting for a later round would lose the heaps that are born in a destructor. */
static void park(void *heap)
{
	struct hk_heap *h = heap;

	if (hk_front.heap != h)
		return;
	hk_lock_take(&h->lock);
	hk_heap_empty(h);
	hk_mail_drain(h);
	hk_heap_shed(h);
	hk_heap_say_all(h);
	atomic_store_explicit(&h->state, HK_HEAP_PARKED, memory_order_release);
	note_parked(h);
	hk_lock_drop(&h->lock);
	hk_heap_disclaim(h);
	publish_parked(h);
	help_parked();
	hk_release_check(HK_SS_BYTES);
	if (HK_TELE_LEVEL >= 1)
		hk_tele_leave();
}

/* Moves up to ADOPT_SLABS slabs of `bin` from parked heap `from`. Both locks are held. */
static uint32_t move_slabs(struct hk_heap *h, struct hk_heap *from, unsigned bin)
{
	uint32_t moved = 0;

	while (moved < ADOPT_SLABS && from->class[bin].partial.head != NULL) {
		struct hk_slab *s = from->class[bin].partial.head;
		int64_t bytes = (int64_t)(s->used * hk_slab_block_bytes(s));

		hk_heap_unlist_slab(from, s);
		hk_heap_count_out(from, -bytes);
		hk_slab_set_owner(s, h->id);
		hk_heap_count_out(h, bytes);
		hk_heap_list_slab(h, s);
		moved++;
	}
	HK_TELE(heap, adopt, moved);
	return moved;
}

bool hk_heap_adopt(struct hk_heap *h, unsigned bin)
{
	uint64_t bit = 1ull << bin % 64;
	struct hk_heap *from;
	uint32_t moved = 0, asked = 0;
	bool busy = false;

	if (hk_heap_is_direct(h) ||
	    (atomic_load_explicit(&parked_bins[bin / 64], memory_order_relaxed) & bit) == 0 ||
	    !hk_heap_table_try())
		return false;
	for (from = hk_heap_first_parked(); from != NULL && moved == 0; from = from->next) {
		if ((atomic_load_explicit(&from->parked_bins[bin / 64], memory_order_relaxed) &
		     bit) == 0)
			continue;
		if (asked++ == ADOPT_HEAPS) {
			busy = true;
			break;
		}
		if (!hk_lock_try(&from->lock)) {
			busy = true;
			continue;
		}
		hk_heap_thaw(from);
		/* Mail comes along: a slab that stays QUEUED, in a mailbox that nobody opens, would
		 * never tell its new owner of a block again. */
		hk_mail_drain(from);
		moved = move_slabs(h, from, bin);
		note_parked(from);
		hk_lock_drop(&from->lock);
	}
	if (moved == 0 && !busy)
		atomic_fetch_and_explicit(&parked_bins[bin / 64], ~bit, memory_order_relaxed);
	hk_heap_table_unlock();
	return moved != 0;
}

size_t hk_mail_help(struct hk_heap *owner)
{
	size_t bytes;

	if (!atomic_load_explicit(&owner->spare, memory_order_relaxed) &&
	    hk_mailbox_is_empty(&owner->mailbox))
		return 0;
	if (!hk_lock_try(&owner->lock))
		return 0;
	HK_TELE(heap, help, 1);
	hk_heap_thaw(owner);
	hk_mail_drain(owner);
	hk_heap_thin(owner);
	bytes = hk_heap_shed(owner);
	if (atomic_load_explicit(&owner->state, memory_order_relaxed) == HK_HEAP_PARKED) {
		hk_heap_publish_parked(owner);
		hk_heap_say_all(owner);
	}
	hk_lock_drop(&owner->lock);
	return bytes;
}

static size_t trim_list(struct hk_slab *s)
{
	size_t sum = 0;

	for (; s != NULL; s = s->next)
		sum += hk_slab_trim(s);
	return sum;
}

size_t hk_heap_trim_slabs(void)
{
	size_t sum = 0;

	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		if (!hk_lock_try(&h->lock))
			continue;
		for (unsigned bin = 1; bin < HK_BINS; bin++)
			sum += trim_list(h->class[bin].partial.head);
		hk_lock_drop(&h->lock);
	}
	return sum;
}

/* The calling thread may empty its own bins and BigCache; those of others are private. All there is, bytes
 * SIZE_MAX, is asked for by a trim, and when the system refuses memory. */
size_t hk_heap_gather(size_t bytes)
{
	static _Atomic uint32_t turn; /* so that no heap is asked always first */
	uint32_t ids = hk_heap_ids(), heaps = ids - HK_FIRST_ID;
	uint32_t start = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed);
	struct hk_heap *mine = hk_front.heap;
	size_t sum = 0;

	if (mine != NULL && !hk_heap_is_direct(mine) && hk_lock_try(&mine->lock)) {
		sum = mine->bigcache.limit * HK_UNIT_BYTES;
		if (bytes == SIZE_MAX)
			hk_heap_empty(mine);
		else
			hk_heap_grant_bigcache(mine, 0);
		hk_lock_drop(&mine->lock);
	}
	for (uint32_t i = 0; i < heaps && sum < bytes; i++) {
		struct hk_heap *h = hk_heap_by_id(HK_FIRST_ID + (start + i) % heaps);

		if (bytes == SIZE_MAX)
			hk_quarantine_empty(h);
		sum += hk_mail_help(h);
	}
	return sum != 0 ? sum : hk_huge_purge(UINT64_MAX);
}
