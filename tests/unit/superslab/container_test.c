/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* container: what the files of both versions say, and files that are not there or say something else. */
#include "superslab/container.h"

#include <errno.h>
#include <string.h>

#include "fake_os.h"
#include "unit.h"

#define V1 "/sys/fs/cgroup/memory"
#define V2 "/sys/fs/cgroup"

static void check(size_t limit, size_t used, uint32_t stalled)
{
	struct hk_container c;

	errno = 77;
	c = hk_container_look();
	t_equal(c.limit, limit);
	t_equal(c.used, used);
	t_equal(c.stalled, stalled);
	t_equal(errno, 77);
}

static void version_2(void)
{
	hk_fake_file("/proc/self/cgroup", "0::/app\n");
	hk_fake_file(V2 "/app/memory.max", "268435456\n");
	hk_fake_file(V2 "/app/memory.current", "1000000\n");
	check(256 * T_MiB, 1000000, 0);
	hk_fake_file(V2 "/app/memory.high", "max\n");
	check(256 * T_MiB, 1000000, 0);
	hk_fake_file(V2 "/app/memory.high", "200000000\n");
	check(200000000, 1000000, 0);
	hk_fake_file(V2 "/app/memory.max", "1000\n");
	check(1000, 1000000, 0);
}

/* File pages that nobody uses don't count, once they may matter. */
static void inactive_files(void)
{
	hk_fake_file("/proc/self/cgroup", "0::/\n");
	hk_fake_file(V2 "/memory.max", "1000000\n");
	hk_fake_file(V2 "/memory.stat", "anon 5\nfile 300000\ninactive_file 200000\nslab 7\n");
	hk_fake_file(V2 "/memory.current", "400000\n");
	check(1000000, 400000, 0);
	hk_fake_file(V2 "/memory.current", "600000\n");
	check(1000000, 400000, 0);
	hk_fake_file(V2 "/memory.stat", "x_inactive_file 1\ninactive_file 900000");
	check(1000000, 0, 0);
	hk_fake_file(V2 "/memory.stat", "inactive_files 1\ninactive_file max\n");
	check(1000000, 600000, 0);
	hk_fake_file(V2 "/memory.stat", NULL);
	check(1000000, 600000, 0);
}

static void version_1(void)
{
	hk_fake_file("/proc/self/cgroup",
		     "9:name=systemd:/\n5:cpu,memory,pids:/a/b\n1:cpu:/c\n0::/d\n");
	hk_fake_file(V1 "/a/b/memory.limit_in_bytes", "100000000\n");
	hk_fake_file(V1 "/a/b/memory.usage_in_bytes", "80000000\n");
	hk_fake_file(V1 "/a/b/memory.stat", "inactive_file 1\ntotal_inactive_file 30000000\n");
	hk_fake_file(V2 "/d/memory.max", "5\n");
	hk_fake_file(V1 "/memory.limit_in_bytes", "9223372036854771712\n");
	check(100000000, 50000000, 0);
}

/* The words of the list of controllers are whole ones. */
static void other_controllers(void)
{
	hk_fake_file("/proc/self/cgroup", "3:memoryx,xmemory:/a\n2:cpu:/memory\n");
	hk_fake_file(V1 "/a/memory.limit_in_bytes", "100\n");
	hk_fake_file(V1 "/a/memory.usage_in_bytes", "5\n");
	hk_fake_file(V1 "/memory/memory.limit_in_bytes", "100\n");
	hk_fake_file(V1 "/memory/memory.usage_in_bytes", "5\n");
	check(0, 0, 0);
	for (unsigned i = 0; i < 15; i++)
		check(0, 0, 0);
	hk_fake_file("/proc/self/cgroup", "3:cpu,memory:/a\n");
	check(100, 5, 0); /* it is searched for again now and then */
}

/* A group above has the smaller limit: its use counts. */
static void nested(void)
{
	hk_fake_file("/proc/self/cgroup", "0::/a/b/c\n");
	hk_fake_file(V2 "/a/b/c/memory.max", "max\n");
	hk_fake_file(V2 "/a/b/memory.max", "300\n");
	hk_fake_file(V2 "/a/memory.max", "500\n");
	hk_fake_file(V2 "/a/b/memory.current", "100\n");
	hk_fake_file(V2 "/a/memory.current", "50\n");
	hk_fake_file(V2 "/a/b/c/memory.current", "10\n");
	check(300, 100, 0);
}

/* In a container, the names are the host's, and only the own group is there, at the root. */
static void at_the_root(void)
{
	hk_fake_file("/proc/self/cgroup", "4:memory:/docker/0123456789abcdef\n");
	hk_fake_file(V1 "/memory.limit_in_bytes", "7000\n");
	hk_fake_file(V1 "/memory.usage_in_bytes", "300\n");
	check(7000, 300, 0);
}

static void no_limit(void)
{
	static const char *const none[] = {
		"max\n",    "", "\n", "-1\n", "999999999999999999999999\n", "9223372036854771712",
		"unlimited"
	};

	check(0, 0, 0); /* no file at all */
	for (unsigned i = 0; i < 16; i++)
		hk_container_look();
	hk_fake_file("/proc/self/cgroup", "0::/a\n");
	hk_fake_file(V2 "/a/memory.current", "100\n");
	for (unsigned i = 0; i < T_COUNT(none); i++) {
		hk_fake_file(V2 "/a/memory.max", none[i]);
		for (unsigned j = 0; j < 16; j++)
			check(0, 0, 0);
	}
	hk_fake_file(V2 "/a/memory.max", "1000\n");
	for (unsigned j = 0; j < 16; j++)
		hk_container_look();
	check(1000, 100, 0);
	hk_fake_file(V2 "/a/memory.current", NULL); /* unreadable, from one look to the next */
	check(0, 0, 0);
	hk_fake_file(V2 "/a/memory.current", "what?");
	check(0, 0, 0);
	hk_fake_file(V2 "/a/memory.current", "100");
	hk_fake_file(V2 "/a/memory.max", NULL);
	check(0, 0, 0);
	hk_fake_file(V2 "/a/memory.max", "0\n"); /* is one */
	check(1, 100, 0);
}

static void odd_lists_of_groups(void)
{
	static const char *const odd[] = { "",    "\n", ":", "::",   "0:",    "0:\n:/a",
					   "0::", "x",  "0", "\n\n", "7::/a", "0::a\n" };
	static char longest[1500];

	hk_fake_file(V2 "/a/memory.max", "1000\n");
	for (unsigned i = 0; i < T_COUNT(odd); i++) {
		hk_fake_file("/proc/self/cgroup", odd[i]);
		for (unsigned j = 0; j < 16; j++)
			check(0, 0, 0);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	memcpy(longest, "0::/", 4);
	hk_fake_file("/proc/self/cgroup", longest);
	for (unsigned j = 0; j < 16; j++)
		check(0, 0, 0);
}

static void pressure(void)
{
	static const struct {
		const char *text;
		uint32_t stalled;
	} trials[] = {
		{ "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=9.00 avg60=0.00\n",
		  0 },
		{ "some avg10=12.34 avg60=0.00 avg300=0.00 total=0\nfull avg10=9.00\n", 1234 },
		{ "some avg10=100.00 avg60", 10000 },
		{ "some avg10=7", 700 },
		{ "some avg10=7.5", 700 },
		{ "some avg10=", 0 },
		{ "some avg10=x", 0 },
		{ "some avg10=99999999999", 0 },
		{ "full avg10=50.00", 0 },
		{ "", 0 },
	};

	for (unsigned i = 0; i < T_COUNT(trials); i++) {
		hk_fake_file("/proc/pressure/memory", trials[i].text);
		t_check_at(hk_container_look().stalled == trials[i].stalled, i);
	}
}

/* A group of version 2 has its own. */
static void pressure_of_a_group(void)
{
	hk_fake_file("/proc/pressure/memory", "some avg10=1.00 ");
	hk_fake_file("/proc/self/cgroup", "0::/a\n");
	hk_fake_file(V2 "/a/memory.max", "1000\n");
	hk_fake_file(V2 "/a/memory.current", "100\n");
	check(1000, 100, 100);
	hk_fake_file(V2 "/a/memory.pressure", "some avg10=2.00 ");
	check(1000, 100, 200);
}

U_MAIN(T_CASE(version_2), T_CASE(inactive_files), T_CASE(version_1), T_CASE(other_controllers),
       T_CASE(nested), T_CASE(at_the_root), T_CASE(no_limit), T_CASE(odd_lists_of_groups),
       T_CASE(pressure), T_CASE(pressure_of_a_group))
