/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/api.h"
#include "api/limit.h"
#include "api/mode.h"
#include "base/options.h"
#include "heap/heap.h"
#include "observe/dump.h"
#include "os/lock.h"
#include "os/thread.h"
#include "slab/harden.h"
#include "superslab/tick.h"

const struct hk_libc *hk_libc HK_NEAR;
_Atomic int hk_mode_now HK_NEAR;

/* Of threads that set options at a time, the last to choose has seen what all of them have set. */
static struct hk_lock choosing HK_NEAR = HK_LOCK_INIT(HK_RANK_MODE);

static void choose(void)
{
	enum hk_mode mode = HK_MODE_NORMAL;

	if (!hk_option(HK_OPT_WRAP_TINY))
		mode = HK_MODE_SPANS;
	if (hk_option(HK_OPT_PROFILE) == HK_HARDENED)
		mode = HK_MODE_HARDENED;
	if (hk_option(HK_OPT_FORCE_LIBC_ALLOC)) {
		if (hk_libc != NULL)
			mode = HK_MODE_LIBC;
		else
			hk_warn("HAKMEM_FORCE_LIBC_ALLOC=1: there is no other allocator in this build, hakmem serves");
	}
	if (mode == hk_mode())
		return;
	if (mode == HK_MODE_HARDENED)
		hk_harden_init();
	atomic_store_explicit(&hk_mode_now, mode, memory_order_relaxed);
	hk_heap_starve(mode != HK_MODE_NORMAL);
}

void hk_mode_choose(void)
{
	hk_lock_take(&choosing);
	choose();
	hk_lock_drop(&choosing);
}

/* The thread of HAKMEM_BACKGROUND=1 is there. */
static _Atomic bool has_background;

static void *give_back_by_time(void *arg)
{
	for (;;) {
		hk_os_sleep_ms(1000);
		if (hk_option(HK_OPT_BACKGROUND))
			hk_tick_whole(hk_os_now_ns());
		hk_tick_sleep();
	}
	return arg;
}

void hk_background_choose(void)
{
	if (!hk_option(HK_OPT_BACKGROUND))
		return;
	if (atomic_exchange_explicit(&has_background, true, memory_order_relaxed)) {
		hk_tick_wake(); /* switched off, it may have fallen asleep over much */
		return;
	}
	if (!hk_thread_start(give_back_by_time)) {
		hk_warn("HAKMEM_BACKGROUND=1: no thread can be made");
		atomic_store_explicit(&has_background, false, memory_order_relaxed);
	}
}

void hk_init(char *const *environment)
{
	static _Atomic bool done HK_NEAR;

	if (HK_MINIMAL || atomic_exchange_explicit(&done, true, memory_order_relaxed))
		return;
	hk_options_init(environment, hk_os_is_secure());
	hk_mode_choose();
	hk_background_choose();
	hk_dump_begin();
}

void hk_fork_prepare(void)
{
	hk_lock_take(&choosing);
	hk_heap_lock_all();
	hk_limit_lock();
}

void hk_fork_parent(void)
{
	hk_limit_unlock();
	hk_heap_unlock_all();
	hk_lock_drop(&choosing);
}

void hk_fork_child(void)
{
	hk_limit_reset();
	hk_heap_reset_all();
	hk_lock_reset(&choosing);
	/* the child has only the thread that forked; making one here is not safe */
	atomic_store_explicit(&has_background, false, memory_order_relaxed);
}
