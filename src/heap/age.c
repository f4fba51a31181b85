/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "heap/heap.h"
#include "os/os.h"
#include "slab/huge.h"
#include "superslab/release.h"
#include "superslab/tick.h"

/* So many calls of hk_heap_pass, or so much memory, between two looks at the clock. */
#define PASSES     32u
#define PASS_BYTES (256 * HK_KiB)

static void look_at_clock(struct hk_heap *h)
{
	uint64_t now;

	if (hk_release_held() <= HK_TICK_BYTES)
		return;
	now = hk_os_now_ns();
	if (!hk_heap_is_direct(h) && now - h->aged_at >= HK_TICK_NS) {
		hk_lock_take(&h->lock);
		h->aged_at = now;
		hk_heap_age(h);
		hk_lock_drop(&h->lock);
	}
	hk_tick(now);
}

void hk_heap_pass(struct hk_heap *h, size_t bytes)
{
	uint32_t passed = atomic_load_explicit(&h->passed, memory_order_relaxed);
	bool look;

	hk_release_check(bytes);
	passed += 1 + (uint32_t)hk_min(bytes / PASS_BYTES, PASSES);
	look = passed >= PASSES;
	atomic_store_explicit(&h->passed, look ? 0 : passed, memory_order_relaxed);
	if (look)
		look_at_clock(h);
}

void hk_heap_age_all(uint64_t now)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++)
		hk_mail_help(hk_heap_by_id(id));
	hk_huge_purge(now - HK_TICK_NS);
}
