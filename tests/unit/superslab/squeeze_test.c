/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* squeeze: when files are read, when lean memory begins and ends, and what it does to options. */
#include "superslab/squeeze.h"

#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "fake_os.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "unit.h"

#define CURRENT "/sys/fs/cgroup/a/memory.current"

static void set_limit(size_t mib)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu\n", mib * T_MiB);
	hk_fake_file("/proc/self/cgroup", "0::/a\n");
	hk_fake_file("/sys/fs/cgroup/a/memory.max", text);
}

static void use(size_t mib)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu\n", mib * T_MiB);
	hk_fake_file(CURRENT, text);
}

static void press(const char *percent)
{
	char text[64];

	snprintf(text, sizeof(text), "some avg10=%s avg60=0.00 avg300=0.00 total=0\n", percent);
	hk_fake_file("/proc/pressure/memory", text);
}

/* Somebody holds them. */
static void commit(size_t mib)
{
	struct hk_run run;

	for (; mib >= 2; mib -= 2)
		t_need(hk_pool_take(HK_SS_UNITS, 1, HK_WISH_ANY, &run));
}

static void look_after_ms(uint64_t ms)
{
	hk_fake_advance_ms(ms);
	hk_squeeze_look(hk_os_now_ns());
}

static unsigned reads_of(uint64_t ms)
{
	unsigned before = hk_fake_counts().read;

	look_after_ms(ms);
	return hk_fake_counts().read - before;
}

static void sq1_when_files_are_read(void)
{
	set_limit(1000);
	use(200);
	t_equal(reads_of(5000), 0);
	commit(62);
	t_equal(reads_of(5000), 0);
	commit(4);
	t_check(reads_of(0) > 0);
	t_equal(reads_of(5000), 0); /* it has not grown */
	commit(2);
	t_check(reads_of(0) > 0);
	commit(2);
	t_equal(reads_of(1999), 0);
	t_check(reads_of(1) > 0 && reads_of(5000) == 0);
}

static void sq1_switched_off(void)
{
	set_limit(100);
	use(99);
	commit(70);
	look_after_ms(0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	t_check(atomic_load(&hk_release_ceiling) != 0);
	t_equal(hk_option_set("CONTAINER", "0"), 0);
	t_equal(reads_of(5000), 0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
	t_equal(atomic_load(&hk_release_ceiling), 0);
	t_equal(hk_option(HK_OPT_WARM_UNITS), 4);
	commit(2);
	t_equal(reads_of(5000), 0);
}

static void near_the_limit(void)
{
	set_limit(1000);
	use(874);
	commit(70);
	look_after_ms(0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
	t_equal(atomic_load(&hk_release_ceiling), (70 + 126) * T_MiB);
	use(876);
	commit(2);
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	t_equal(atomic_load(&hk_release_ceiling), (72 + 124) * T_MiB);
	use(751); /* it is looked at while it lasts, growing or not */
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	use(749);
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
	t_equal(hk_squeeze_times(), 1);
	use(1100);
	commit(2);
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	t_equal(hk_squeeze_times(), 2);
	t_equal(atomic_load(&hk_release_ceiling), 74 * T_MiB);
	t_equal(hk_release_bound(), 0);
}

static void under_pressure(void)
{
	commit(70);
	press("9.99");
	look_after_ms(0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
	commit(2);
	press("10.00");
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_PRESSURE);
	t_equal(atomic_load(&hk_release_ceiling), 0);
	press("1.00");
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_PRESSURE);
	press("0.99");
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
	t_equal(hk_squeeze_times(), 1);
}

/* One follows the other: it goes on. */
static void both(void)
{
	set_limit(100);
	use(95);
	press("50.00");
	commit(70);
	look_after_ms(0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	use(10);
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_PRESSURE);
	t_equal(hk_squeeze_times(), 1);
	t_equal(hk_option(HK_OPT_WARM_UNITS), 0);
	hk_fake_file("/proc/pressure/memory", NULL);
	hk_fake_file(CURRENT, NULL);
	look_after_ms(2000);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_NO);
}

/* SQ2: what was set by hand stays. */
static void sq2_options(void)
{
	set_limit(100);
	use(99);
	commit(70);
	t_equal(hk_option_set("PROFILE", "speed"), 0);
	t_equal(hk_option_set("BIN_BYTES", "500K"), 0);
	look_after_ms(0);
	t_equal(hk_option(HK_OPT_BOUND), 2 * T_MiB);
	t_equal(hk_option(HK_OPT_EARNED), 64 * T_MiB);
	t_equal(hk_option(HK_OPT_BIGCACHE_L25), 0);
	t_equal(hk_option(HK_OPT_BIN_BYTES), 500 * T_KiB);
	t_equal(hk_option(HK_OPT_SS_MEM_LEAN), 0);
	t_equal(hk_option_set("WARM_UNITS", "7"), 0);
	t_equal(hk_option_set("PROFILE", "balanced"), 0); /* meanwhile */
	t_equal(hk_option(HK_OPT_BOUND), 2 * T_MiB);
	use(10);
	look_after_ms(2000);
	t_equal(hk_option(HK_OPT_BOUND), 6 * T_MiB);
	t_equal(hk_option(HK_OPT_EARNED), 128 * T_MiB);
	t_equal(hk_option(HK_OPT_BIN_BYTES), 500 * T_KiB);
	t_equal(hk_option(HK_OPT_WARM_UNITS), 7);
}

/* What is held goes back at once. */
static void held_goes_back(void)
{
	struct hk_run run;

	t_equal(hk_option_set("PROFILE", "speed"), 0);
	t_need(hk_pool_take(512, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 512, 512);
	commit(100);
	t_equal(hk_release_dirty(), 0); /* it was taken first */
	t_need(hk_pool_take(512, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 512, 512);
	t_equal(hk_release_dirty(), 32 * T_MiB);
	set_limit(200);
	use(190);
	look_after_ms(0);
	t_equal(hk_squeeze_state(), HK_SQUEEZE_LIMIT);
	t_check(hk_release_dirty() <= 4 * T_MiB);
}

U_MAIN(T_CASE(sq1_when_files_are_read), T_CASE(sq1_switched_off), T_CASE(near_the_limit),
       T_CASE(under_pressure), T_CASE(both), T_CASE(sq2_options), T_CASE(held_goes_back))
