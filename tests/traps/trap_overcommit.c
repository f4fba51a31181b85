/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* vm.overcommit_memory=2: the kernel counts all private writable memory, touched or not, and refuses a
 * mapping when it is made. A program starts there, works with blocks of every kind, gets NULL and ENOMEM
 * for what is too much, and goes on.
 *
 * The setting is the whole machine's: so this is a long test, for root; what may be committed is set far
 * above what others have, and all is as before when the program in the middle has ended, in whatever way. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "all_kinds.h"
#include "child.h"

#define ROOM (8 * T_GiB)

static const char *self;

/* ---- The setting ---- */

static const char *const names[] = { "overcommit_memory", "overcommit_ratio", "overcommit_kbytes" };
static char before[T_COUNT(names)][40];

static int open_setting(const char *name, int how)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	return open(path, how | O_CLOEXEC);
}

static bool set(const char *name, const char *value)
{
	int fd = open_setting(name, O_WRONLY);
	bool good = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return good;
}

static void remember(void)
{
	for (unsigned i = 0; i < T_COUNT(names); i++) {
		int fd = open_setting(names[i], O_RDONLY);

		t_need(fd >= 0 && read(fd, before[i], sizeof(before[i]) - 1) > 0);
		close(fd);
	}
}

static void restore(void)
{
	bool by_kbytes =
		atol(before[2]) != 0; /* a ratio and a number: setting one clears the other */

	t_check(set(names[0], before[0]));
	t_check(by_kbytes ? set(names[2], before[2]) : set(names[1], before[1]));
}

static size_t committed_kib(void)
{
	char text[4096] = "";
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	char *at;

	t_need(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	at = strstr(text, "Committed_AS:");
	t_need(at != NULL);
	return strtoul(at + 13, NULL, 10);
}

/* ---- Under it ---- */

static void too_much(void)
{
	size_t n = ROOM + T_GiB;
	unsigned char *p = T_MALLOC(3 * T_MiB);

	t_need(p != NULL);
	t_fill(p, 3 * T_MiB, 7);
	errno = 0;
	t_check(T_MALLOC(n) == NULL && errno == ENOMEM);
	errno = 0;
	t_check(T_CALLOC(n / 100, 100) == NULL && errno == ENOMEM);
	errno = 0;
	t_check(T_REALLOC(p, n) == NULL && errno == ENOMEM);
	t_check(t_holds(p, 3 * T_MiB, 3 * T_MiB, 7));
	T_FREE(p);
	p = T_MALLOC(T_GiB);
	t_check(p != NULL);
	T_FREE(p);
}

/* In the new process, which began under it. */
static int work(void)
{
	pthread_t thread[KINDS_THREADS];

	if (dlsym(RTLD_DEFAULT, "hak_version") == NULL)
		return 1;
	kinds_steps = 600;
	kinds_prepare(thread);
	kinds_run();
	for (unsigned i = 0; i < KINDS_THREADS; i++)
		t_join(thread[i]);
	too_much();
	return t_failures() != 0;
}

static void begin_anew(void *arg)
{
	(void)arg;
	execl(self, self, "work", (char *)NULL);
	_exit(1);
}

static void counted_when_mapped(void)
{
	char limit[40];
	int status = 0;

	remember();
	snprintf(limit, sizeof(limit), "%zu", committed_kib() + ROOM / T_KiB);
	if (geteuid() != 0 || !set(names[2], limit))
		t_skip("vm.overcommit_memory cannot be set here");
	t_check(set(names[0], "2"));
	status = run_child(begin_anew, NULL);
	restore();
	t_equal(status, 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(counted_when_mapped) };
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	self = argv[0];
	if (argc == 2 && strcmp(argv[1], "work") == 0)
		return work();
	for (unsigned i = 0; i < T_COUNT(ends); i++)
		signal(ends[i], SIG_IGN); /* what was set is set back first */
	return t_main(argc, argv, cases, T_COUNT(cases));
}
