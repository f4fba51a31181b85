/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "stress_block.h"

#include <string.h>

#include "door.h"

#define WHOLE 2048u /* blocks up to here are checked in every byte, longer ones at both ends */
#define EDGE  64u

#if defined(T_DOOR_PRELOAD)
#define WITH_HEAPS 0
#else
#define WITH_HEAPS 1
#endif

_Atomic size_t sb_live;

struct sb sb_swap(struct sb_slot *slot, struct sb in)
{
	struct sb out;

	while (atomic_flag_test_and_set_explicit(&slot->busy, memory_order_acquire))
		;
	out = slot->block;
	slot->block = in;
	atomic_flag_clear_explicit(&slot->busy, memory_order_release);
	return out;
}

size_t sb_size(uint64_t *seed, size_t most)
{
	static const struct {
		unsigned parts;
		size_t top;
	} mix[] = { { 680, 256 },        { 160, 1024 },     { 100, 32 * T_KiB },
		    { 45, 256 * T_KiB }, { 13, 4 * T_MiB }, { 2, 48 * T_MiB } };
	size_t r = t_below(seed, 1000), i = 0;

	while (r >= mix[i].parts) {
		r -= mix[i].parts;
		i++;
	}
	return t_below(seed, (mix[i].top < most ? mix[i].top : most) + 1);
}

static void fill(const struct sb *b)
{
	if (b->size <= WHOLE) {
		t_fill(b->p, b->size, b->key);
		return;
	}
	t_fill(b->p, EDGE, b->key);
	t_fill(b->p + b->size - EDGE, EDGE, b->key);
}

static bool holds(const unsigned char *p, size_t now, const struct sb *was)
{
	size_t end = now < was->size ? now : was->size;

	if (was->size <= WHOLE)
		return t_holds(p, end, was->size, was->key);
	if (!t_holds(p, end < EDGE ? end : EDGE, EDGE, was->key))
		return false;
	return end < was->size || t_holds(p + was->size - EDGE, EDGE, EDGE, was->key);
}

static void damaged(const struct sb *b, const char *when)
{
	t_say("block %p of %zu bytes (alignment %zu, heap %p), written by thread %u, is damaged at %s",
	      (void *)b->p, b->size, b->align, (void *)b->heap, (unsigned)(b->key >> 32), when);
	for (size_t i = 0; i < b->size && i < 32; i += 8)
		t_say("  +%zu: %02x %02x %02x %02x %02x %02x %02x %02x", i, b->p[i], b->p[i + 1],
		      b->p[i + 2], b->p[i + 3], b->p[i + 4], b->p[i + 5], b->p[i + 6], b->p[i + 7]);
	t_fatal(__FILE__, __LINE__, "blocks keep their contents");
}

void sb_verify(const struct sb *b)
{
	if (b->p == NULL)
		return;
	if (!holds(b->p, b->size, b))
		damaged(b, "check");
	t_need(T_USABLE(b->p) >= b->size);
	t_need(t_aligned(b->p, b->align < 16 ? 16 : b->align));
}

static void *heap_block(uint64_t *seed, struct sb *b, bool *zero)
{
#if WITH_HEAPS
	switch (t_below(seed, 4)) {
	case 0:
		b->align = (size_t)1 << t_below(seed, 13);
		return hak_heap_aligned_alloc(b->heap, b->align, b->size);
	case 1:
		*zero = true;
		return hak_heap_calloc(b->heap, 1, b->size);
	default:
		return hak_heap_malloc(b->heap, b->size);
	}
#else
	(void)seed, (void)b, (void)zero;
	return NULL;
#endif
}

static void *thread_block(uint64_t *seed, struct sb *b, bool *zero)
{
	void *p = NULL;

	switch (t_below(seed, 16)) {
	case 0:
		b->align = (size_t)1 << t_below(seed, b->size > 4096 ? 22 : 13);
		return T_ALIGNED_ALLOC(b->align, b->size);
	case 1:
		b->align = (size_t)8 << t_below(seed, 10);
		return T_POSIX_MEMALIGN(&p, b->align, b->size) == 0 ? p : NULL;
	case 2:
	case 3:
	case 4:
		*zero = true;
		return T_CALLOC(1, b->size);
	case 5:
		return T_REALLOC(NULL, b->size);
	default:
		return T_MALLOC(b->size);
	}
}

struct sb sb_new(uint64_t *seed, size_t size, uint64_t owner, struct hak_heap *heap)
{
	struct sb b = { NULL, size, 0, owner << 32 | (t_random(seed) & 0xffffffffu), heap };
	bool zero = false;

	b.p = heap != NULL ? heap_block(seed, &b, &zero) : thread_block(seed, &b, &zero);
	t_need(b.p != NULL);
	t_need(t_aligned(b.p, b.align < 16 ? 16 : b.align));
	if (zero && !t_is_zero(b.p, size < 4 * T_MiB ? size : 4 * T_MiB))
		damaged(&b, "calloc (not zero)");
	fill(&b);
	atomic_fetch_add(&sb_live, size);
	return b;
}

struct sb sb_resize(uint64_t *seed, struct sb b, size_t size, uint64_t owner)
{
	struct sb was = b;

	sb_verify(&b);
	b.size = size;
	b.align = 0;
#if WITH_HEAPS
	if (b.heap != NULL && t_below(seed, 2) == 0)
		b.p = hak_heap_realloc(b.heap, b.p, size);
	else
#endif
		b.p = T_REALLOC(b.p, size);
	atomic_fetch_sub(&sb_live, was.size);
	if (size == 0) {
		t_need(b.p == NULL);
		return b;
	}
	t_need(b.p != NULL);
	if (!holds(b.p, size, &was))
		damaged(&b, "realloc");
	b.key = owner << 32 | (t_random(seed) & 0xffffffffu);
	fill(&b);
	atomic_fetch_add(&sb_live, size);
	return b;
}

void sb_free(uint64_t *seed, struct sb b)
{
	if (b.p == NULL)
		return;
	sb_verify(&b);
	atomic_fetch_sub(&sb_live, b.size);
	/* What is freed is dirty, so that callocs have something to clear. */
	memset(b.p, 0xdb, b.size < WHOLE ? b.size : WHOLE);
	switch (t_below(seed, 6)) {
	case 0:
		if (b.align == 0)
			T_FREE_SIZED(b.p, b.size);
		else
			T_FREE(b.p);
		return;
#if WITH_HEAPS
	case 1:
		if (b.heap != NULL) {
			hak_heap_free(b.heap, b.p);
			return;
		}
#endif
		/* fall through */
	default:
		T_FREE(b.p);
	}
}
