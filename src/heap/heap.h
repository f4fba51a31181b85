/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_HEAP_HEAP_H
#define HK_HEAP_HEAP_H
/* BOX heap - a thread's allocator state, and heaps of the program's own.
 * Owns:       struct hk_heap; the table of heaps by id; the stack of parked heaps.
 * Invariants: H1 … H3 (face.h)
 *             H4 a slab is in exactly one list of its owner: partial <=> it has blocks to give
 *             H5 granted == sum of limit x size over the bins
 *             H6 a RUNNING heap belongs to one thread; a PARKED one has empty bins, ways and
 *                BigCache, but that a frozen one has bins and ways as a fork left them (fork.c)
 *             H7 what a way holds is one slab's, and counts as used there
 * Threads:    [thread] the running thread only. [lock] the heap's lock. Ids and addresses of heaps
 *             are constant, and heaps are never unmapped.
 * Locks:      REGISTRY for the table and the parked stack; HEAP for slabs, counts, warm units.
 *             A second heap's lock only by trylock (or all of them: hk_heap_lock_all).
 * Fails:      NULL when memory is short; the heap is as before.
 *
 *   thread heap   FREE -> RUNNING -> PARKED -> RUNNING …      bins, ways, BigCache; slow path locked
 *   direct heap   no bins: each operation takes the lock. First-class heaps, the orphan heap that
 *                 serves threads without a heap (after their end; when ids, keys or memory run out),
 *                 and the hardened heaps that threads share in hardened mode */
#include "base/base.h"
#include "base/check.h"
#include "heap/face.h"
#include "os/lock.h"
#include "slab/class.h"
#include "slab/remote.h"
#include "slab/slab.h"
#include "slab/span.h"

enum hk_heap_kind { HK_HEAP_THREAD, HK_HEAP_DIRECT };
enum hk_heap_state { HK_HEAP_FREE, HK_HEAP_RUNNING, HK_HEAP_PARKED };

/* Blocks of one foreign slab that wait to be sent to its owner. */
struct hk_way {
	struct hk_slab *slab; /* NULL: the chain is empty */
	struct hk_chain chain;
	uint32_t most; /* blocks of the slab that are sent at once */
};

struct hk_slab_list {
	struct hk_slab *head, *tail;
};

/* What a heap has of one class. */
struct hk_heap_class {
	struct hk_slab_list partial, full; /* [lock] */
	bool refilled, flushed;            /* since the limit was last looked at [thread] */
	uint32_t overflows;                /* since the last refill [thread] */
};

struct hk_warm_unit {
	hk_unit unit;
	bool dirty;
};
#define HK_WARM_MAX 64u

struct hk_heap {
	struct hk_face face; /* [thread] first: a heap and its face have one address */

	struct hk_lock lock;
	uint32_t id;      /* [const] */
	uint8_t kind;     /* [const] enum hk_heap_kind */
	bool first_class; /* a direct heap of the program's own [const] */
	bool hardened;    /* a direct heap whose slabs are hardened [lock; const while in use] */
	struct hk_front *front;          /* of the running thread [lock REGISTRY] */
	_Atomic uint64_t parked_bins[2]; /* bit a bin: PARKED, with slabs to adopt: a hint [any] */
	struct hk_heap *next; /* in the parked stack, or the stack of free ids [lock REGISTRY] */

	struct hk_bigcache bigcache; /* [thread] */
	struct hk_way way[HK_WAYS];  /* [thread] */
	struct hk_heap_class class[HK_BINS];
	struct hk_warm_unit warm[HK_WARM_MAX]; /* ready units [lock] */
	uint32_t warm_units;                   /* [lock] */
	uint32_t idle_slabs;                   /* [lock] */
	uint32_t slabs;                        /* [lock] */
	struct hk_span *spans;                 /* of a first-class heap [lock] */
	struct hk_quarantine *quarantine; /* of one that is or was hardened [const; in it: lock] */

	bool frozen;              /* PARKED, and not thawed yet [lock] */
	size_t granted;           /* H5 [lock] */
	int64_t granted_unsaid;   /* of it and the BigCache, not yet in hk_granted [lock] */
	int64_t peak;             /* of `out`, seen at overflows since it was last spent [lock] */
	bool spent;               /* all but freed, and nothing taken since [lock] */
	int64_t crest;            /* of `out`, since the last fall (trim.c) [lock] */
	unsigned trim_bin;        /* the next class to be trimmed after a fall; 0: none is [lock] */
	size_t trimmed, reopened; /* bytes, of the last such trim [lock] */
	uint64_t trimmed_at;      /* coarse ns; or no trim before then [lock] */
	uint32_t refusals;        /* grants refused since the last look for idle bins [lock] */
	_Atomic uint32_t passed;  /* what hk_heap_pass was told of, since it last looked [any] */
	uint64_t aged_at;         /* coarse ns [thread] */
	int64_t out;              /* bytes out of this heap's slabs [lock] */
	int64_t out_unsaid;       /* of them, not yet in hk_out [lock] */
	int64_t flying_unsaid;    /* not yet in hk_flying [lock] */
	int64_t held_unsaid;      /* not yet in hk_dirty: of the quarantine [lock] */
	_Atomic uint64_t blocks_out; /* ever [lock writes, any reads] */

	/* What senders look at, away from the lock's line, which the running thread writes to. */
	alignas(64) struct hk_mailbox mailbox; /* [any] */
	_Atomic uint8_t state; /* enum hk_heap_state; changes under the lock [any relaxed] */
	_Atomic bool
		spare; /* it may have idle slabs or warm units: a hint [lock writes, any reads] */
	_Atomic int64_t mail_bytes; /* in it, about [any relaxed] */
};

/* ---- The table of heaps ---------------------------------------------------------------------- */

extern HK_HIDDEN struct hk_heap *_Atomic hk_heap_table[HK_MAX_HEAPS];

HK_INLINE struct hk_heap *hk_heap_by_id(uint32_t id)
{
	return atomic_load_explicit(&hk_heap_table[id], memory_order_acquire);
}
/* One past the highest id that was ever used. */
uint32_t hk_heap_ids(void);
uint32_t hk_heaps_running(void);
uint32_t hk_heaps_parked(void);

/* The orphan heap. Never NULL. */
struct hk_heap *hk_heap_orphan(void);
/* The calling thread's heap: its own, made if need be, or the orphan heap. */
struct hk_heap *hk_heap_here(void);
HK_INLINE bool hk_heap_is_direct(const struct hk_heap *h) { return h->kind == HK_HEAP_DIRECT; }

HK_INLINE bool hk_heap_is_first_class(const struct hk_heap *h) { return h->first_class; }

/* A heap of kind DIRECT; NULL: no memory or ids. And its end: no thread is inside. */
struct hk_heap *hk_heap_make_direct(void);
/* A hardened one (quarantine.h); first_class: for the program, else shared by its threads. */
struct hk_heap *hk_heap_make_hardened(bool first_class);
void hk_heap_unmake_direct(struct hk_heap *h);

/* Every malloc and free of every thread goes slow from now on; or may be fast again. */
void hk_heap_starve(bool on);
bool hk_heap_is_starved(void);

/* ---- Blocks (refill.c, flush.c) ------------------------------------------------------ */

/* Fills an empty bin; false: no memory. The lock is not held. */
bool hk_heap_refill(struct hk_heap *h, unsigned bin, struct hk_offence where);
/* A zero block, past the bin; NULL when there is none at hand. */
struct hk_block *hk_heap_take_zero(struct hk_heap *h, unsigned bin);
/* Gives the colder part of a bin to its slabs, so that `keep` blocks stay. Called with the lock. */
void hk_heap_flush(struct hk_heap *h, unsigned bin, uint32_t keep, const void *caller);
/* A bin is over its limit: flushes, adapts the limit, pays. */
void hk_heap_overflow(struct hk_heap *h, unsigned bin, const void *caller);

/* A block of a direct heap; NULL: no memory. */
struct hk_block *hk_direct_take(struct hk_heap *h, unsigned bin, struct hk_offence where);
/* Counts blocks that left slabs and spans: of a thread heap by the running thread. */
void hk_heap_note_blocks_out(struct hk_heap *h, uint32_t blocks);
/* Frees a block of a direct heap, by any thread. p is a block's start. */
void hk_direct_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where);

/* ---- Slabs of a heap (slabs.c). All called with the heap's lock held -------------------------- */

void hk_heap_list_slab(struct hk_heap *h, struct hk_slab *s); /* to the list where it belongs */
void hk_heap_unlist_slab(struct hk_heap *h, struct hk_slab *s);
/* After blocks came or went: moves s to the list where it belongs, marks it idle or busy. */
void hk_heap_relist_slab_now(struct hk_heap *h, struct hk_slab *s);
HK_INLINE void hk_heap_relist_slab(struct hk_heap *h, struct hk_slab *s)
{
	/* as a rule it stays where it is: partial, in use, and so not idle */
	if ((s->flags & (HK_SLAB_PARTIAL | HK_SLAB_IDLE)) != HK_SLAB_PARTIAL || s->used == 0 ||
	    !hk_slab_has_blocks(s))
		hk_heap_relist_slab_now(h, s);
}
/* A slab with blocks of `bin` to give, from the partial list, mail, parked heaps, warm units or the
 * pool, in this order. NULL: no memory. */
struct hk_slab *hk_heap_find_slab(struct hk_heap *h, unsigned bin);
/* s has just become empty: keeps it as the class's idle slab, or gives its units away. */
void hk_heap_retire_slab(struct hk_heap *h, struct hk_slab *s);
/* Idle slabs and warm units go to the pool; returns their bytes. */
size_t hk_heap_shed(struct hk_heap *h);
void hk_heap_count_out(struct hk_heap *h, int64_t bytes);
void hk_heap_count_flying(struct hk_heap *h, int64_t bytes);
void hk_heap_count_held(struct hk_heap *h, int64_t bytes);
void hk_heap_count_granted(struct hk_heap *h, int64_t bytes);
/* Before the units of an empty slab are given away; returns as hk_slab_unmake. */
uint32_t hk_heap_unmake_slab(struct hk_heap *h, struct hk_slab *s);
/* What the heap kept to itself of these goes to the global accounts. */
void hk_heap_say_all(struct hk_heap *h);

/* ---- Mail (mail.c) ------------------------------------------------------------------------------ */

/* Frees a block of another thread's heap: into a way, or sent at once by threads without ways. */
void hk_mail_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where);
HK_INLINE struct hk_way *hk_mail_way(struct hk_heap *h, hk_unit first)
{
	return &h->way[(first * 2654435761u >> 16) % HK_WAYS];
}
/* The same when only a push is to be done: a block of the slab that its way is for, with room for it, and
 * no reason to doubt it. False: not so, and nothing was done. p is in a unit, of the first arena, of any
 * slab; h is any heap. */
HK_INLINE bool hk_mail_try_push(struct hk_heap *h, hk_unit unit, void *p)
{
	struct hk_slab *s = hk_slab_of(unit);
	struct hk_way *way = hk_mail_way(h, s->unit);
	struct hk_block *b = p;
	uint32_t offset = (uint32_t)(hk_arena_offset(p) - ((size_t)s->unit << HK_UNIT_SHIFT));

	/* while blocks of it are in the way, the slab can't vanish, and its fields are true */
	if (way->slab != s || way->chain.count + 1 >= way->most || b->tag == HK_TAG ||
	    hk_slab_inside_at(s, offset) != 0)
		return false;
	b->link = way->chain.head;
	b->tag = HK_TAG;
	way->chain.head = b;
	way->chain.count++;
	return true;
}
/* Sends all ways. Called with h's lock. */
void hk_mail_send_all(struct hk_heap *h);
/* Collects the mailbox into the slabs; true: something came. Called with h's lock. */
bool hk_mail_drain(struct hk_heap *h);
/* Drains and sheds another heap, if nobody is inside it; returns the bytes that went to the pool. */
size_t hk_mail_help(struct hk_heap *owner);

/* ---- Life (life.c) ------------------------------------------------------------------------------ */

/* Takes slabs of `bin` from parked heaps. Called with h's lock. */
bool hk_heap_adopt(struct hk_heap *h, unsigned bin);
/* Sheds heaps until `bytes` went to the pool, or purges a huge range. For the release policy. */
size_t hk_heap_gather(size_t bytes);
/* Bins, ways and BigCache of the running heap go back to where they came from. With the lock. */
void hk_heap_empty(struct hk_heap *h);

/* ---- Pages inside of part-used slabs in which nothing but free blocks lies (trim.c) -------------- */

/* Gives back those of all heaps, but of heaps in which somebody is; returns their bytes. */
size_t hk_heap_trim_slabs(void);
/* After frees, with the lock: when the heap has fallen, those of its thin slabs, a class each time. */
void hk_heap_trim_fallen(struct hk_heap *h);
/* Blocks in holes were wanted. With the lock. */
void hk_heap_note_reopened(struct hk_heap *h, size_t bytes);

/* ---- Fork (fork.c) ------------------------------------------------------------------------------ */

/* Every lock of the allocator, in rank order: for fork, and for walks over all heaps. */
void hk_heap_lock_all(void);
void hk_heap_unlock_all(void);
/* The same in the child of a fork, where the heaps of other threads become parked. */
void hk_heap_reset_all(void);
/* What a fork left in bins and ways goes home. With h's lock, before anything else is done to a
 * PARKED heap. */
void hk_heap_thaw_now(struct hk_heap *h);
HK_INLINE void hk_heap_thaw(struct hk_heap *h)
{
	if (HK_UNLIKELY(h->frozen))
		hk_heap_thaw_now(h);
}

/* ---- Limits (grant.c). By the running thread, with the lock ----------------------------------- */

/* After a refill or an overflow: twice as much, when the bin is refilled again before it overflows,
 * or both happens in turn; half of it, when it overflows in a row, or the heap has more than its budget. */
void hk_heap_adapt(struct hk_heap *h, unsigned bin, bool overflow);
/* No limit: the bin is empty. */
void hk_heap_ungrant(struct hk_heap *h, unsigned bin);
/* Sets the limit of the BigCache, in units, up to this heap's share of half of the bound. */
void hk_heap_grant_bigcache(struct hk_heap *h, uint32_t units);

/* Bins and BigCache that were not in use since the last time give up what they hold; the bins, half. */
void hk_heap_age(struct hk_heap *h);

/* ---- Time (age.c) ------------------------------------------------------------------------------- */

/* By the calling thread, whose heap is h, and which holds no lock: `bytes` have become free. Pays for the
 * bound; and now and then does what is due by time. */
void hk_heap_pass(struct hk_heap *h, size_t bytes);
/* What heaps hold and nobody uses goes to the pool, and an old huge range is purged. For the release
 * policy. */
void hk_heap_age_all(uint64_t now);

/* ---- Last words -------------------------------------------------------------------------------- */

/* Is b in the slab's lists, or on its remote word? Under its owner's lock. */
bool hk_heap_is_listed(const struct hk_slab *s, const struct hk_block *b);
HK_COLD HK_NORETURN void hk_heap_die_damaged(struct hk_offence where, const struct hk_block *b,
					     size_t bytes);
HK_COLD HK_NORETURN void hk_heap_die_already_free(struct hk_offence where, const void *p,
						  size_t bytes);
/* `inside` as hk_slab_inside says. */
HK_COLD HK_NORETURN void hk_heap_die_inside(struct hk_offence where, const void *p, size_t inside,
					    size_t bytes);

#endif
