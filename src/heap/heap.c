/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "heap/heap.h"

#include "base/options.h"
#include "heap/life.h"
#include "heap/quarantine.h"
#include "superslab/meta.h"
#include "superslab/release.h"

/* Account changes below this stay with the heap. */
#define UNSAID_BYTES ((int64_t)(256 * HK_KiB))
/* Of what was freed, less of it by a heap that has little left: many threads that have freed everything would
 * look as if they still had a quarter of a MiB each. */
#define UNSAID_FREED ((int64_t)(16 * HK_KiB))

_Thread_local struct hk_front hk_front;
struct hk_heap *_Atomic hk_heap_table[HK_MAX_HEAPS];

/* Start-up maps nothing for these: zero-fill memory of the library. */
static struct hk_heap orphan_heap, first_heap;

static struct {
	alignas(64) struct hk_lock lock;
	_Atomic uint32_t ids;   /* one past the highest in use */
	struct hk_heap *parked; /* most recent first [lock] */
	struct hk_heap *unmade; /* direct heaps whose id can be used again [lock] */
	/* looked at by every refill: away from the lock, which adoption tries */
	alignas(64) _Atomic uint32_t running;
	_Atomic uint32_t n_parked;
	_Atomic bool starved;
} table = { .lock = HK_LOCK_INIT(HK_RANK_REGISTRY), .ids = HK_FIRST_ID };

void hk_heap_table_lock(void) { hk_lock_take(&table.lock); }
bool hk_heap_table_try(void) { return hk_lock_try(&table.lock); }
void hk_heap_table_unlock(void) { hk_lock_drop(&table.lock); }
void hk_heap_table_reset(void) { hk_lock_reset(&table.lock); }
struct hk_heap *hk_heap_first_parked(void) { return table.parked; }

uint32_t hk_heap_ids(void) { return atomic_load_explicit(&table.ids, memory_order_acquire); }

uint32_t hk_heaps_running(void)
{
	return atomic_load_explicit(&table.running, memory_order_relaxed);
}

uint32_t hk_heaps_parked(void)
{
	return atomic_load_explicit(&table.n_parked, memory_order_relaxed);
}

/* Gives `h`, which is all zero, its id. Called with the registry's lock. */
static void enroll(struct hk_heap *h, enum hk_heap_kind kind)
{
	uint32_t id = hk_heap_ids();

	h->lock.rank = HK_RANK_HEAP;
	h->id = id;
	h->kind = (uint8_t)kind;
	for (uint32_t i = 0; i < HK_FACE_BINS; i++)
		h->face.bin[i].head = HK_END;
	for (uint32_t i = 0; i < HK_WAYS; i++)
		h->way[i].chain.head = HK_END;
	atomic_store_explicit(&hk_heap_table[id], h, memory_order_release);
	atomic_store_explicit(&table.ids, id + 1, memory_order_release);
}

/* The orphan heap has the first id, the first thread's heap the second. With the registry's lock. */
static void enroll_first(void)
{
	if (hk_heap_ids() != HK_FIRST_ID)
		return;
	hk_release_hooks.gather = hk_heap_gather;
	hk_release_hooks.age = hk_heap_age_all;
	enroll(&orphan_heap, HK_HEAP_DIRECT);
	atomic_store_explicit(&orphan_heap.state, HK_HEAP_RUNNING, memory_order_relaxed);
	enroll(&first_heap, HK_HEAP_THREAD);
}

struct hk_heap *hk_heap_orphan(void)
{
	hk_lock_take(&table.lock);
	enroll_first();
	hk_lock_drop(&table.lock);
	return &orphan_heap;
}

static struct hk_heap *make(enum hk_heap_kind kind)
{
	struct hk_heap *h;

	if (hk_heap_ids() == HK_MAX_HEAPS)
		return NULL;
	h = hk_meta_alloc(sizeof(*h), alignof(struct hk_heap));
	if (h != NULL)
		enroll(h, kind);
	return h;
}

/* The loader may clear a thread's words after they were in use (the main thread's, behind IRELATIVE
 * resolvers): a heap that runs with these very words is this thread's. */
static bool is_ours(const struct hk_heap *h)
{
	return atomic_load_explicit(&h->state, memory_order_relaxed) == HK_HEAP_RUNNING &&
	       h->front == &hk_front;
}

struct hk_heap *hk_heap_claim(void)
{
	struct hk_heap *h;

	hk_lock_take(&table.lock);
	enroll_first();
	if (is_ours(&first_heap)) {
		h = &first_heap;
	} else if (table.parked != NULL) {
		h = table.parked;
		table.parked = h->next;
		atomic_fetch_sub_explicit(&table.n_parked, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&table.running, 1, memory_order_relaxed);
	} else {
		bool fresh = atomic_load_explicit(&first_heap.state, memory_order_relaxed) ==
			     HK_HEAP_FREE;

		h = fresh ? &first_heap : make(HK_HEAP_THREAD);
		if (h != NULL)
			atomic_fetch_add_explicit(&table.running, 1, memory_order_relaxed);
	}
	if (h != NULL) {
		/* whoever helped this heap while it was parked has written under its lock */
		hk_lock_take(&h->lock);
		hk_heap_thaw(h);
		atomic_store_explicit(&h->state, HK_HEAP_RUNNING, memory_order_relaxed);
		h->front = &hk_front;
		hk_lock_drop(&h->lock);
		hk_heap_open_front(h, atomic_load_explicit(&table.starved, memory_order_relaxed));
	}
	hk_lock_drop(&table.lock);
	return h;
}

void hk_heap_disclaim(struct hk_heap *h)
{
	hk_lock_take(&table.lock);
	h->front = NULL;
	hk_heap_close_front(&orphan_heap); /* here: nobody starves it, and so opens it, any more */
	h->next = table.parked;
	table.parked = h;
	atomic_fetch_add_explicit(&table.n_parked, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&table.running, 1, memory_order_relaxed);
	hk_lock_drop(&table.lock);
}

bool hk_heap_disown_others(const struct hk_heap *mine)
{
	bool others = false;

	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		if (h == mine || h->kind != HK_HEAP_THREAD)
			continue;
		others = true;
		/* a thread that is just parking has set the state, but is not off the heap yet */
		if (h->front == NULL)
			continue;
		hk_heap_freeze(h);
		atomic_store_explicit(&h->state, HK_HEAP_PARKED, memory_order_relaxed);
		h->front = NULL;
		h->next = table.parked;
		table.parked = h;
		atomic_fetch_add_explicit(&table.n_parked, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&table.running, 1, memory_order_relaxed);
		hk_heap_publish_parked(h);
	}
	return others;
}

static void retract(struct hk_heap *h)
{
	h->next = table.unmade;
	table.unmade = h;
}

static struct hk_heap *make_direct(bool first_class, bool hardened)
{
	struct hk_heap *h;

	hk_lock_take(&table.lock);
	enroll_first();
	h = table.unmade;
	if (h != NULL)
		table.unmade = h->next;
	else
		h = make(HK_HEAP_DIRECT);
	if (h != NULL && hardened && h->quarantine == NULL) {
		h->quarantine = hk_quarantine_new();
		if (h->quarantine == NULL) {
			retract(h);
			h = NULL;
		}
	}
	if (h != NULL) {
		hk_lock_take(&h->lock); /* statistics look at heaps that nobody uses too */
		h->first_class = first_class;
		h->hardened = hardened;
		atomic_store_explicit(&h->state, HK_HEAP_RUNNING, memory_order_relaxed);
		hk_lock_drop(&h->lock);
	}
	hk_lock_drop(&table.lock);
	return h;
}

struct hk_heap *hk_heap_make_direct(void) { return make_direct(true, false); }

struct hk_heap *hk_heap_make_hardened(bool first_class) { return make_direct(first_class, true); }

/* Every slab of the list, with whatever blocks are still out. With h's lock. */
static void discard_slabs(struct hk_heap *h, struct hk_slab_list *list)
{
	while (list->head != NULL) {
		struct hk_slab *s = list->head;
		uint32_t touched;

		hk_heap_count_out(h, -(int64_t)(s->used * hk_slab_block_bytes(s)));
		s->used = 0;
		if (h->hardened)
			hk_hard_slab_verify(s, (struct hk_offence){ "hak_heap_destroy", NULL });
		hk_heap_unlist_slab(h, s);
		touched = hk_heap_unmake_slab(h, s);
		if (h->hardened) /* zero on free */
			hk_harden_clear(hk_slab_start(s), s->carved * hk_slab_block_bytes(s));
		hk_pool_give(s->unit, s->units, touched);
	}
}

static void discard_span(struct hk_span *s)
{
	if (hk_span_is_hardened(s)) {
		hk_span_bury(s, (struct hk_offence){ "hak_heap_destroy", NULL });
		hk_span_exhume(s);
	} else {
		hk_span_give(s);
	}
}

void hk_heap_unmake_direct(struct hk_heap *h)
{
	hk_lock_take(&h->lock);
	if (h->hardened)
		hk_quarantine_forget(h);
	hk_heap_shed(h);
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		discard_slabs(h, &h->class[bin].partial);
		discard_slabs(h, &h->class[bin].full);
	}
	while (h->spans != NULL) {
		struct hk_span *s = h->spans;

		h->spans = s->next;
		discard_span(s);
	}
	atomic_store_explicit(&h->state, HK_HEAP_FREE, memory_order_relaxed);
	hk_lock_drop(&h->lock);
	hk_lock_take(&table.lock);
	retract(h);
	hk_lock_drop(&table.lock);
}

void hk_heap_starve(bool on)
{
	hk_lock_take(&table.lock);
	atomic_store_explicit(&table.starved, on, memory_order_relaxed);
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		if (h->front != NULL)
			hk_heap_set_front(h->front, h->id, on);
	}
	hk_lock_drop(&table.lock);
}

bool hk_heap_is_starved(void) { return atomic_load_explicit(&table.starved, memory_order_relaxed); }

HK_INLINE void say_now(int64_t *unsaid, void (*add)(int64_t bytes))
{
	if (*unsaid != 0)
		add(*unsaid);
	*unsaid = 0;
}

HK_INLINE void say(int64_t *unsaid, void (*add)(int64_t bytes), int64_t bytes)
{
	*unsaid += bytes;
	if (*unsaid >= UNSAID_BYTES || *unsaid <= -UNSAID_BYTES)
		say_now(unsaid, add);
}

void hk_heap_count_out(struct hk_heap *h, int64_t bytes)
{
	h->out += bytes;
	say(&h->out_unsaid, hk_out_add, bytes);
	if (h->out_unsaid <= -UNSAID_FREED && h->out_unsaid <= -h->out)
		say_now(&h->out_unsaid, hk_out_add);
}

void hk_heap_count_flying(struct hk_heap *h, int64_t bytes)
{
	say(&h->flying_unsaid, hk_flying_add, bytes);
}

void hk_heap_count_held(struct hk_heap *h, int64_t bytes)
{
	say(&h->held_unsaid, hk_dirty_add, bytes);
}

void hk_heap_count_granted(struct hk_heap *h, int64_t bytes)
{
	/* limits of bins go up and down all the time; a small bound is kept more exactly */
	int64_t least = (int64_t)hk_min(UNSAID_BYTES, hk_option(HK_OPT_BOUND) / 64);

	h->granted_unsaid += bytes;
	if (h->granted_unsaid >= least || h->granted_unsaid <= -least)
		say_now(&h->granted_unsaid, hk_granted_add);
}

void hk_heap_say_all(struct hk_heap *h)
{
	say_now(&h->held_unsaid, hk_dirty_add);
	say_now(&h->granted_unsaid, hk_granted_add);
	say_now(&h->out_unsaid, hk_out_add);
	say_now(&h->flying_unsaid, hk_flying_add);
}
