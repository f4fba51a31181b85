/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* tick: what is free and not wanted shrinks with time, in instalments; the background thread's sleep. */
#include "superslab/tick.h"

#include "base/options.h"
#include "fake_os.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "unit.h"

static struct hk_run taken;

static void take(uint32_t units) { t_need(hk_pool_take(units, 1, HK_WISH_ANY, &taken)); }
static void give(void) { hk_pool_give(taken.unit, taken.units, taken.units); }

/* `units` in a row become dirty, and are in the pool; the first tick has been. */
static void begin(uint32_t units)
{
	take(units);
	give();
	hk_tick(hk_os_now_ns());
	t_equal(hk_release_dirty(), units * HK_UNIT_BYTES);
}

static void tick_after_ms(uint64_t ms)
{
	hk_fake_advance_ms(ms);
	hk_tick(hk_os_now_ns());
}

/* A quarter of it a second, and it comes to an end. */
static void t1_what_is_idle_shrinks(void)
{
	begin(64);
	tick_after_ms(999);
	t_equal(hk_release_dirty(), 64 * HK_UNIT_BYTES);
	tick_after_ms(1);
	t_equal(hk_release_dirty(), 48 * HK_UNIT_BYTES);
	tick_after_ms(500);
	t_equal(hk_release_dirty(), 48 * HK_UNIT_BYTES);
	tick_after_ms(500);
	t_equal(hk_release_dirty(), 36 * HK_UNIT_BYTES);
	for (unsigned i = 0; i < 6; i++)
		tick_after_ms(1000);
	t_check(hk_release_dirty() > 0);
	for (unsigned i = 0; i < 4; i++)
		tick_after_ms(1000);
	t_equal(hk_release_dirty(), 0);
}

/* What the program takes and gives again is not idle. */
static void t1_what_swings_stays(void)
{
	begin(64);
	for (unsigned i = 0; i < 10; i++) {
		take(64);
		give();
		tick_after_ms(1000);
		t_check_at(hk_release_dirty() == 64 * HK_UNIT_BYTES, i);
	}
	for (unsigned i = 0; i < 30; i++) {
		take(24);
		give();
		tick_after_ms(1000);
	}
	t_check(hk_release_dirty() >= 24 * HK_UNIT_BYTES);
	t_check(hk_release_dirty() <= 28 * HK_UNIT_BYTES);
}

/* Also when nobody comes by the pool at all. */
static void t1_nothing_happens(void)
{
	begin(64);
	tick_after_ms(1000); /* the pool's own purge is the last that happens */
	atomic_store(&hk_pool_least_dirty, SIZE_MAX);
	tick_after_ms(1000);
	t_equal(hk_release_dirty(), 36 * HK_UNIT_BYTES);
}

static void t2_instalments(void)
{
	t_equal(hk_option_set("BOUND", "1G"), 0);
	begin(512);
	for (unsigned i = 1; i <= 4; i++) {
		tick_after_ms(i == 1 ? 1000 : 1);
		t_equal(hk_release_dirty(), (512 - 32 * i) * HK_UNIT_BYTES);
	}
	tick_after_ms(1);
	t_equal(hk_release_dirty(), (512 - 128) * HK_UNIT_BYTES);
}

static void whole(void)
{
	t_equal(hk_option_set("BOUND", "1G"), 0);
	begin(512);
	hk_tick_whole(hk_os_now_ns());
	t_equal(hk_release_dirty(), 512 * HK_UNIT_BYTES);
	hk_fake_advance_ms(1000);
	hk_tick_whole(hk_os_now_ns());
	t_equal(hk_release_dirty(), 384 * HK_UNIT_BYTES);
}

/* The kernel takes nothing: one try a tick. */
static void refused(void)
{
	unsigned calls;

	begin(64);
	hk_fake_refuse_purge(true);
	calls = hk_fake_counts().purge;
	for (unsigned i = 0; i < 10; i++)
		tick_after_ms(200);
	t_equal(hk_fake_counts().purge, calls + 2);
	t_equal(hk_release_dirty(), 64 * HK_UNIT_BYTES);
}

static unsigned aged;

static void age(uint64_t now)
{
	t_equal(now, hk_os_now_ns());
	aged++;
}

static void heaps_age_too(void)
{
	hk_release_hooks.age = age;
	for (unsigned i = 0; i < 10; i++)
		tick_after_ms(500);
	t_equal(aged, 5);
}

/* Asleep while less than 512 KiB are dirty; a tick that finds more wakes it. */
static void sleep_and_wake(void)
{
	hk_tick_sleep();
	t_equal(hk_fake_counts().wait, 1);
	tick_after_ms(1000);
	t_equal(hk_fake_counts().wake, 0);
	take(64);
	give();
	tick_after_ms(1000);
	t_equal(hk_fake_counts().wake, 1);
	tick_after_ms(1000);
	t_equal(hk_fake_counts().wake, 1); /* it is awake */
	hk_tick_sleep();
	t_equal(hk_fake_counts().wait, 1); /* and stays so */
	hk_release_all();
	hk_tick_sleep();
	t_equal(hk_fake_counts().wait, 2);
	hk_tick_wake();
	t_equal(hk_fake_counts().wake, 2);
}

U_MAIN(T_CASE(t1_what_is_idle_shrinks), T_CASE(t1_what_swings_stays), T_CASE(t1_nothing_happens),
       T_CASE(t2_instalments), T_CASE(whole), T_CASE(refused), T_CASE(heaps_age_too),
       T_CASE(sleep_and_wake))
