/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* options: values, precedence and warnings. Environments are made up, each in a child. */
#include "base/options.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

struct trial {
	const char *env[8];
	bool secure;
	enum hk_option_id id;
	uint64_t want;
	const char *warning; /* all of stderr */
};

static void run_trial(void *arg)
{
	const struct trial *t = arg;

	hk_options_init((char *const *)(uintptr_t)t->env, t->secure);
	t_equal(hk_option(t->id), t->want);
}

static void run_trials(const struct trial *trials, size_t count)
{
	static struct u_end end;

	for (size_t i = 0; i < count; i++) {
		const char *want = trials[i].warning != NULL ? trials[i].warning : "";

		u_child(run_trial, (void *)(uintptr_t)&trials[i], &end);
		if (strcmp(end.text, want) != 0)
			t_say("trial %zu: \"%s\", not \"%s\"", i, end.text, want);
		t_check_at(end.status == 0 && strcmp(end.text, want) == 0, i);
	}
}

#define ON(row) HK_OPT_##row

static void values(void)
{
	static const struct trial trials[] = {
		{ { NULL }, false, ON(BOUND), 6291456, NULL },
		{ { "PATH=/bin", "HAKMEM", "HAKMEM_BOUND", NULL },
		  false,
		  ON(BOUND),
		  6291456,
		  NULL },
		{ { "HAKMEM_BOUND=70000" }, false, ON(BOUND), 70000, NULL },
		{ { "HAKMEM_BOUND=65536" }, false, ON(BOUND), 65536, NULL },
		{ { "HAKMEM_BOUND=64K" }, false, ON(BOUND), 65536, NULL },
		{ { "HAKMEM_BOUND=3m" }, false, ON(BOUND), 3 * T_MiB, NULL },
		{ { "HAKMEM_BOUND=2GiB" }, false, ON(BOUND), 2 * T_GiB, NULL },
		{ { "HAKMEM_BOUND=1024G" }, false, ON(BOUND), 1024 * T_GiB, NULL },
		{ { "HAKMEM_BOUND_SHARE=0" }, false, ON(BOUND_SHARE), 0, NULL },
		{ { "HAKMEM_BIGCACHE_L25=0" }, false, ON(BIGCACHE_L25), 0, NULL },
		{ { "HAKMEM_SS_PREFAULT=touch" }, false, ON(SS_PREFAULT), HK_PREFAULT_TOUCH, NULL },
		{ { "HAKMEM_SS_MEM_LEAN_DECOMMIT=FREE" },
		  false,
		  ON(SS_MEM_LEAN_DECOMMIT),
		  HK_DECOMMIT_FREE,
		  NULL },
		{ { "HAKMEM_BOUND=1M", "HAKMEM_BOUND=2M" }, false, ON(BOUND), 2 * T_MiB, NULL },
		{ { "HAKMEM_BENCH_OPERATIONS=12" }, false, ON(BOUND), 6291456, NULL },
		{ { "HAKMEM_TRACE_LIMIT=12" }, false, ON(BOUND), 6291456, NULL },
	};

	run_trials(trials, T_COUNT(trials));
}

/* O1: what is out of range, or no number at all, is named in one line, and the default stays. */
static void o1_bad_limits(void)
{
	static const struct trial trials[] = {
		{ { "HAKMEM_LIMIT=3 apples" },
		  false,
		  ON(LIMIT),
		  0,
		  "hakmem: HAKMEM_LIMIT=3 apples is ignored: allowed is 0 to 1099511627776, with K, M or "
		  "G\n" },
		{ { "HAKMEM_CONTAINER=maybe" },
		  false,
		  ON(CONTAINER),
		  1,
		  "hakmem: HAKMEM_CONTAINER=maybe is ignored: allowed is 0 to 1\n" },
	};

	run_trials(trials, T_COUNT(trials));
}

static void o1_bad_values(void)
{
#define ALLOWED " is ignored: allowed is 65536 to 1099511627776, with K, M or G\n"
	static const struct trial trials[] = {
		{ { "HAKMEM_BOUND=65535" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=65535" ALLOWED },
		{ { "HAKMEM_BOUND=1025G" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=1025G" ALLOWED },
		{ { "HAKMEM_BOUND=18446744073709551617" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=18446744073709551617" ALLOWED },
		{ { "HAKMEM_BOUND=18014398509481984K" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=18014398509481984K" ALLOWED },
		{ { "HAKMEM_BOUND=" }, false, ON(BOUND), 6291456, "hakmem: HAKMEM_BOUND=" ALLOWED },
		{ { "HAKMEM_BOUND=M" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=M" ALLOWED },
		{ { "HAKMEM_BOUND=1MB" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=1MB" ALLOWED },
		{ { "HAKMEM_BOUND=-1" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_BOUND=-1" ALLOWED },
		{ { "HAKMEM_BOUND_SHARE=5K" },
		  false,
		  ON(BOUND_SHARE),
		  25,
		  "hakmem: HAKMEM_BOUND_SHARE=5K is ignored: allowed is 0 to 1000\n" },
		{ { "HAKMEM_BIGCACHE_L25=yes" },
		  false,
		  ON(BIGCACHE_L25),
		  1,
		  "hakmem: HAKMEM_BIGCACHE_L25=yes is ignored: allowed is 0 to 1\n" },
		{ { "HAKMEM_SS_PREFAULT=ALL" },
		  false,
		  ON(SS_PREFAULT),
		  HK_PREFAULT_OFF,
		  "hakmem: HAKMEM_SS_PREFAULT=ALL is ignored: allowed is OFF, POPULATE, TOUCH\n" },
		{ { "HAKMEM_PROFILE=fast" },
		  false,
		  ON(PROFILE),
		  HK_BALANCED,
		  "hakmem: HAKMEM_PROFILE=fast is ignored: allowed is speed, balanced, lean, hardened, "
		  "MIXED_TINYV3_C7_SAFE, MIXED_TINYV3_C7_BALANCED\n" },
	};

	run_trials(trials, T_COUNT(trials));
}

static void profiles(void)
{
	static const struct trial trials[] = {
		{ { "HAKMEM_PROFILE=speed" }, false, ON(BOUND), 64 * T_MiB, NULL },
		{ { "HAKMEM_PROFILE=LEAN" }, false, ON(BOUND), 2 * T_MiB, NULL },
		{ { "HAKMEM_PROFILE=hardened" }, false, ON(PROFILE), HK_HARDENED, NULL },
		{ { "HAKMEM_PROFILE=MIXED_TINYV3_C7_SAFE" }, false, ON(PROFILE), HK_SPEED, NULL },
		{ { "HAKMEM_PROFILE=MIXED_TINYV3_C7_BALANCED" },
		  false,
		  ON(PROFILE),
		  HK_BALANCED,
		  NULL },
		/* single variables override the preset, before and behind it */
		{ { "HAKMEM_PROFILE=speed", "HAKMEM_BOUND=2M" },
		  false,
		  ON(BOUND),
		  2 * T_MiB,
		  NULL },
		{ { "HAKMEM_BOUND=2M", "HAKMEM_PROFILE=speed" },
		  false,
		  ON(BOUND),
		  2 * T_MiB,
		  NULL },
		{ { "HAKMEM_BOUND=2M", "HAKMEM_PROFILE=speed" },
		  false,
		  ON(BOUND_SHARE),
		  100,
		  NULL },
		/* lean memory overrules the profile, but no variable */
		{ { "HAKMEM_PROFILE=speed", "HAKMEM_SS_MEM_LEAN=1" },
		  false,
		  ON(BOUND),
		  2 * T_MiB,
		  NULL },
		{ { "HAKMEM_SS_MEM_LEAN=1" }, false, ON(WARM_UNITS), 0, NULL },
		{ { "HAKMEM_SS_MEM_LEAN=1" }, false, ON(PROFILE), HK_BALANCED, NULL },
		{ { "HAKMEM_SS_MEM_LEAN=1", "HAKMEM_WARM_UNITS=3" },
		  false,
		  ON(WARM_UNITS),
		  3,
		  NULL },
		{ { "HAKMEM_SS_MEM_LEAN=0", "HAKMEM_PROFILE=speed" },
		  false,
		  ON(BOUND),
		  64 * T_MiB,
		  NULL },
		{ { "HAKMEM_PROFILE=lean" }, false, ON(SS_MEM_LEAN), 1, NULL },
		{ { "HAKMEM_PROFILE=lean", "HAKMEM_SS_MEM_LEAN=0" },
		  false,
		  ON(SS_MEM_LEAN),
		  0,
		  NULL },
	};

	run_trials(trials, T_COUNT(trials));
}

static void names(void)
{
	static const struct trial trials[] = {
		{ { "HAKMEM_PROFIL=speed" },
		  false,
		  ON(PROFILE),
		  HK_BALANCED,
		  "hakmem: HAKMEM_PROFIL is no variable of hakmem: do you mean HAKMEM_PROFILE?\n" },
		{ { "HAKMEM_ZZZZZZZZZZZZ=1" },
		  false,
		  ON(BOUND),
		  6291456,
		  "hakmem: HAKMEM_ZZZZZZZZZZZZ is no variable of hakmem\n" },
		/* known from earlier systems */
		{ { "HAKMEM_TINY_TCACHE=1", "HAKMEM_FASTLANE_DIRECT=0" },
		  false,
		  ON(BOUND),
		  6291456,
		  NULL },
		/* in a setuid program nothing is looked at */
		{ { "HAKMEM_BOUND=2M", "HAKMEM_PROFIL=x" }, true, ON(BOUND), 6291456, NULL },
	};

	run_trials(trials, T_COUNT(trials));
}

static void long_name(void)
{
	static char name[300];
	static struct trial t = { .id = ON(BOUND), .want = 6291456 };
	static struct u_end end;

	memcpy(name, "HAKMEM_", 7);
	memset(name + 7, 'A', sizeof(name) - 10);
	strcpy(name + sizeof(name) - 3, "=1");
	t.env[0] = name;
	u_child(run_trial, &t, &end);
	t_check(strstr(end.text, "AAA is no variable of hakmem\n") != NULL &&
		strlen(end.text) < 120);
}

static void be_verbose(void *arg)
{
	static const char *const env[] = { "HAKMEM_VERBOSE=1", "HAKMEM_TINY_TCACHE=1",
					   "HAKMEM_BOUND=2M", NULL };

	(void)arg;
	hk_options_init((char *const *)(uintptr_t)env, false);
}

static void verbose_tells_all(void)
{
	static struct u_end end;
	size_t lines = 0;

	u_child(be_verbose, NULL, &end);
	for (const char *c = end.text; *c != '\0'; c++)
		lines += *c == '\n';
	t_equal(lines, HK_OPTIONS + 1);
	t_check(strstr(end.text, "hakmem: HAKMEM_BOUND=2097152 (environment)\n") != NULL);
	t_check(strstr(end.text, "hakmem: HAKMEM_PROFILE=balanced (profile)\n") != NULL);
	t_check(strstr(end.text, "hakmem: HAKMEM_TINY_TCACHE is known, and has no effect\n") !=
		NULL);
}

static void text(void)
{
	static const char *const env[] = { "HAKMEM_STATS=/tmp/%p.json", NULL };
	char buf[8];

	t_check(strcmp(hk_option_text(HK_OPT_STATS), "0") == 0);
	hk_options_init((char *const *)(uintptr_t)env, false);
	t_check(strcmp(hk_option_text(HK_OPT_STATS), "/tmp/%p.json") == 0);
	t_equal(hk_option_get("STATS", buf, sizeof(buf)), 12);
	t_check(strcmp(buf, "/tmp/%p") == 0);
	t_equal(hk_option_set("STATS", "1"), EINVAL);
}

static void set_and_get(void)
{
	char buf[16];

	t_equal(hk_option_set("BOUND", "3M"), 0);
	t_equal(hk_option_set("HAKMEM_WARM_UNITS", "7"), 0);
	t_equal(hk_option(HK_OPT_BOUND), 3 * T_MiB);
	t_equal(hk_option_describe(HK_OPT_BOUND).source, HK_FROM_PROGRAM);
	t_equal(hk_option_set("PROFILE", "speed"), 0); /* resets what came from the profile */
	t_equal(hk_option(HK_OPT_BOUND), 3 * T_MiB);
	t_equal(hk_option(HK_OPT_BOUND_SHARE), 100);
	t_equal(hk_option_set("WARM_UNITS", "65"), EINVAL);
	t_equal(hk_option(HK_OPT_WARM_UNITS), 7);
	t_equal(hk_option_set("NO_SUCH_OPTION", "1"), ENOENT);
	t_equal(hk_option_set("TINY_TCACHE", "1"), ENOENT);
	t_equal(hk_option_get("PROFILE", buf, sizeof(buf)), 5);
	t_check(strcmp(buf, "speed") == 0);
	t_equal(hk_option_get("HAKMEM_BOUND", buf, 4), 7);
	t_check(strcmp(buf, "314") == 0);
	t_equal(hk_option_get("BOUND", NULL, 0), 7);
	t_check(hk_option_get("NO_SUCH_OPTION", buf, sizeof(buf)) == -1);
	t_check(strcmp(hk_option_describe(HK_OPT_BOUND).name, "HAKMEM_BOUND") == 0);
}

U_MAIN(T_CASE(values), T_CASE(o1_bad_values), T_CASE(o1_bad_limits), T_CASE(profiles),
       T_CASE(names), T_CASE(long_name), T_CASE(verbose_tells_all), T_CASE(text),
       T_CASE(set_and_get))
