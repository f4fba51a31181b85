/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Everything at once: threads that allocate, check, resize and free blocks of all kinds, their own
 * and each other's, and die while their blocks live on; first-class heaps; trims, walks and changes of
 * the profile in between.
 *
 *   stress_mix [-t threads] [-n thousand operations | -s seconds] [-r seed]
 *
 * A run that failed is repeated with the seed that it printed; threads make it inexact, so repeat. */
#include <stdlib.h>
#include <unistd.h>

#include "door.h"
#include "stress_block.h"

#define SHARED       1500u /* slots that all threads exchange blocks through */
#define PRIVATE      400u  /* slots of one worker, inherited by its successor */
#define HEAPS        3u
#define HEAP_SLOTS   100u
#define MOST_LIVE    (384 * T_MiB) /* asked for, in all */
#define MOST_THREADS 256u
#define LIFE         20000u /* operations until a worker is replaced */

struct shared_heap {
	pthread_rwlock_t lock; /* read: use the heap; write: destroy, walk */
	hak_heap *heap;
	struct sb_slot slot[HEAP_SLOTS];
};

struct worker {
	unsigned index, generation;
	size_t operations; /* left, over all generations */
	struct sb_slot slot[PRIVATE];
};

static struct sb_slot shared[SHARED];
static struct shared_heap heaps[HEAPS];
static struct worker workers[MOST_THREADS];
static uint64_t first_seed = 1;
static uint64_t end_ms; /* 0: by operations */

/* The walker over all invariants, which only checked builds have. */
#if T_CHECK_LEVEL >= 3 && !defined(T_DOOR_PRELOAD)
bool hk_check_heaps(void);
#else
static bool hk_check_heaps(void) { return true; }
#endif

static const struct sb nothing;

static void use_slot(uint64_t *seed, struct sb_slot *slot, uint64_t owner, hak_heap *heap)
{
	size_t most =
		atomic_load_explicit(&sb_live, memory_order_relaxed) > MOST_LIVE ? 1024 : SIZE_MAX;
	struct sb b = sb_swap(slot, nothing);
	size_t what = t_below(seed, 10);

	if (b.p == NULL) {
		b = sb_new(seed, sb_size(seed, most), owner, heap);
	} else if (what == 0) {
		sb_verify(&b);
	} else if (what <= 2) {
		b = sb_resize(seed, b, sb_size(seed, most), owner);
	} else {
		sb_free(seed, b);
		b = what < 7 ? sb_new(seed, sb_size(seed, most), owner, heap) : nothing;
	}
	sb_free(seed, sb_swap(slot, b));
}

#if defined(T_DOOR_PRELOAD)

static void use_heap(uint64_t *seed, uint64_t owner) { (void)seed, (void)owner; }
static void renew_heap(uint64_t *seed) { (void)seed; }
static void walk_process(void) {}
static void change_profile(uint64_t *seed) { (void)seed; }

#else

static void use_heap(uint64_t *seed, uint64_t owner)
{
	struct shared_heap *h = &heaps[t_below(seed, HEAPS)];

	t_need(pthread_rwlock_rdlock(&h->lock) == 0);
	if (h->heap != NULL)
		for (unsigned i = 0; i < 10; i++)
			use_slot(seed, &h->slot[t_below(seed, HEAP_SLOTS)], owner, h->heap);
	t_need(pthread_rwlock_unlock(&h->lock) == 0);
}

static bool count_block(const struct hak_block_info *b, void *arg)
{
	size_t *count = arg;

	t_need(b->ptr != NULL);
	++*count;
	return true;
}

/* A heap that nobody is in: the walk is exact, and destroying frees everything. */
static void renew_heap(uint64_t *seed)
{
	struct shared_heap *h = &heaps[t_below(seed, HEAPS)];
	size_t walked = 0, there = 0;

	t_need(pthread_rwlock_wrlock(&h->lock) == 0);
	if (h->heap != NULL) {
		for (unsigned i = 0; i < HEAP_SLOTS; i++) {
			struct sb b = h->slot[i].block;

			sb_verify(&b);
			there += b.p != NULL;
			atomic_fetch_sub(&sb_live, b.p != NULL ? b.size : 0);
			h->slot[i].block = nothing;
		}
		t_need(hak_heap_walk(h->heap, count_block, &walked));
		t_equal(walked, there);
		hak_heap_destroy(h->heap);
	}
	h->heap = hak_heap_new();
	t_need(h->heap != NULL);
	t_need(pthread_rwlock_unlock(&h->lock) == 0);
}

static void walk_process(void)
{
	size_t count = 0;

	t_need(hak_heap_walk(NULL, count_block, &count));
}

static void change_profile(uint64_t *seed)
{
	static const char *const names[] = { "speed", "balanced", "lean", "hardened" };

	(void)hak_option_set("PROFILE", names[t_below(seed, T_COUNT(names))]);
}

#endif

static void seldom(uint64_t *seed)
{
	switch (t_below(seed, 24)) {
	case 0:
		T_TRIM();
		break;
	case 1:
		walk_process();
		break;
	case 2:
	case 3:
		change_profile(seed);
		break;
	case 4:
	case 5:
	case 6:
		renew_heap(seed);
		break;
	case 7:
		t_need(hk_check_heaps());
		break;
	default: /* of spans that become something else meanwhile, nothing wild is read */
		t_need(t_live() <= 4 * MOST_LIVE);
	}
}

static bool over(struct worker *w)
{
	if (end_ms != 0)
		return t_now_ms() >= end_ms;
	if (w->operations == 0)
		return true;
	w->operations -= w->operations < 1000 ? w->operations : 1000;
	return false;
}

/* One life. Returns itself when there is more to do. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = first_seed * 1000003 + w->index * 101 + w->generation;
	uint64_t owner = w->index;
	size_t life = LIFE / 2 + t_below(&seed, LIFE);

	for (size_t i = 0; i < life; i++) {
		size_t r = t_below(&seed, 1000);

		if (i % 1000 == 0 && over(w))
			return NULL;
		if (r < 600)
			use_slot(&seed, &w->slot[t_below(&seed, PRIVATE)], owner, NULL);
		else if (r < 980)
			use_slot(&seed, &shared[t_below(&seed, SHARED)], owner, NULL);
		else if (r < 999)
			use_heap(&seed, owner);
		else
			seldom(&seed);
	}
	return w;
}

static pthread_t threads[MOST_THREADS];

/* Generations of workers follow each other, `count` at a time. */
static void run(unsigned count)
{
	unsigned running = count;

	for (unsigned i = 0; i < count; i++)
		threads[i] = t_thread(work, &workers[i]);
	while (running > 0)
		for (unsigned i = 0; i < count; i++) {
			struct worker *w = &workers[i];

			if (w->generation == UINT32_MAX)
				continue;
			if (t_join(threads[i]) == NULL) {
				w->generation = UINT32_MAX;
				running--;
				continue;
			}
			w->generation++;
			threads[i] = t_thread(work, w);
		}
}

static void clean_up(unsigned count)
{
	uint64_t seed = 0;

	for (unsigned i = 0; i < SHARED; i++)
		sb_free(&seed, sb_swap(&shared[i], nothing));
	for (unsigned w = 0; w < count; w++)
		for (unsigned i = 0; i < PRIVATE; i++)
			sb_free(&seed, sb_swap(&workers[w].slot[i], nothing));
	for (unsigned h = 0; h < HEAPS; h++) {
		for (unsigned i = 0; i < HEAP_SLOTS; i++)
			sb_free(&seed, sb_swap(&heaps[h].slot[i], nothing));
#if !defined(T_DOOR_PRELOAD)
		hak_heap_destroy(heaps[h].heap);
#endif
	}
	t_need(sb_live == 0);
}

static void account(size_t live_before, unsigned count)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	t_say("live %zu KiB, held %zu KiB (bound %zu KiB), committed %zu KiB, %u heaps, RSS %zu KiB",
	      s.live / T_KiB, s.held / T_KiB, s.bound / T_KiB, s.committed / T_KiB, s.heaps,
	      t_status_kib("VmRSS"));
	/* What remains: thread stacks' TLS and stdio's buffer. */
	t_check(s.live <= live_before + T_MiB);
	t_check(s.held <= s.bound + s.heaps * 256 * T_KiB + count * 2 * T_MiB);
	t_need(hk_check_heaps());
}

int main(int argc, char **argv)
{
	size_t kilo_operations = t_scale(400, 20), seconds = 0, live;
	unsigned count = 4;
	int c;

	while ((c = getopt(argc, argv, "t:n:s:r:")) != -1) {
		size_t n = strtoul(optarg != NULL ? optarg : "0", NULL, 10);

		switch (c) {
		case 't':
			count = (unsigned)n;
			break;
		case 'n':
			kilo_operations = t_scale(n, 5);
			break;
		case 's':
			seconds = n;
			break;
		case 'r':
			first_seed = n;
			break;
		default:
			return 2;
		}
	}
	t_need(count >= 1 && count <= MOST_THREADS);
	t_say("stress_mix (%s) -t %u %s %zu -r %llu", T_DOOR, count, seconds ? "-s" : "-n",
	      seconds ? seconds : kilo_operations, (unsigned long long)first_seed);
	if (seconds != 0)
		end_ms = t_now_ms() + seconds * 1000;
	for (unsigned i = 0; i < HEAPS; i++)
		t_need(pthread_rwlock_init(&heaps[i].lock, NULL) == 0);
	for (unsigned i = 0; i < count; i++)
		workers[i] =
			(struct worker){ .index = i, .operations = kilo_operations * 1000 / count };
	live = t_live();
	run(count);
	clean_up(count);
	account(live, count);
	return t_failures() == 0 ? 0 : 1;
}
