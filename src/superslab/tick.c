/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/tick.h"

#include "os/os.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "superslab/squeeze.h"

#define MIN_SHARE (256 * HK_KiB)
#define MOST      (2 * HK_MiB)

static struct {
	_Atomic uint64_t at;     /* coarse ns of the last tick */
	_Atomic size_t left;     /* bytes still to be purged of its share */
	_Atomic uint32_t asleep; /* the background thread is */
} tick;

/* T1 */
static void begin(uint64_t now)
{
	size_t idle;

	if (hk_release_hooks.age != NULL)
		hk_release_hooks.age(now);
	hk_release_age(now);
	idle = atomic_exchange_explicit(&hk_pool_least_dirty, SIZE_MAX, memory_order_relaxed);
	idle = hk_min(idle, hk_release_dirty()); /* SIZE_MAX: nothing has changed */
	atomic_store_explicit(&tick.left, hk_max(idle / 4, hk_min(idle, MIN_SHARE)),
			      memory_order_relaxed);
	hk_squeeze_look(now);
}

static bool begin_if_due(uint64_t now)
{
	uint64_t at = atomic_load_explicit(&tick.at, memory_order_relaxed);

	if (now - at < HK_TICK_NS ||
	    !atomic_compare_exchange_strong_explicit(&tick.at, &at, now, memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	begin(now);
	return true;
}

/* T2. Two threads may purge the same part of the share: that does no harm. False: there is none left. */
static bool go_on(void)
{
	size_t left = atomic_load_explicit(&tick.left, memory_order_relaxed), want, done;

	if (left < HK_UNIT_BYTES)
		return false;
	want = hk_min(left, MOST);
	done = hk_release_some(want);
	/* nothing is dirty any more, or the kernel does not take it */
	atomic_store_explicit(&tick.left, done != 0 ? left - hk_min(left, done) : 0,
			      memory_order_relaxed);
	return done != 0;
}

void hk_tick(uint64_t now)
{
	begin_if_due(now);
	go_on();
	if (atomic_load_explicit(&tick.asleep, memory_order_relaxed) != 0 &&
	    hk_release_dirty() > HK_TICK_BYTES)
		hk_tick_wake();
}

void hk_tick_whole(uint64_t now)
{
	begin_if_due(now);
	while (go_on())
		;
}

void hk_tick_sleep(void)
{
	atomic_store(&tick.asleep, 1);
	if (hk_release_dirty() > HK_TICK_BYTES)
		atomic_store(&tick.asleep, 0);
	else
		hk_os_wait(&tick.asleep, 1);
}

void hk_tick_wake(void)
{
	if (atomic_exchange(&tick.asleep, 0) != 0)
		hk_os_wake(&tick.asleep, 1);
}
