/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * When statistics are written without being asked for by a call: at exit, on a signal, every so many
 * milliseconds. A handler may have interrupted a thread that holds a lock, so it does no more than wake
 * a thread that waits for it. */
#include <string.h>

#include "base/check.h"
#include "base/fmt.h"
#include "base/options.h"
#include "observe/dump.h"
#include "observe/stats.h"
#include "os/os.h"
#include "os/signal.h"
#include "os/thread.h"

static _Atomic uint32_t asked;  /* signals so far */
static _Atomic unsigned number; /* reports so far */

/* %p in the name is the process id, so that the children of a process don't share a file; %n is which
 * report it is, so that a later one does not take its place. */
static void expand(char *buf, size_t size, const char *name, unsigned which)
{
	size_t n = 0;

	for (; *name != '\0' && n + 1 < size; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			n += hk_fmt(buf + n, size - n, "%d", hk_os_pid());
			name++;
		} else if (name[0] == '%' && name[1] == 'n') {
			n += hk_fmt(buf + n, size - n, "%u", which);
			name++;
		} else {
			buf[n++] = *name;
		}
	}
	buf[n] = '\0';
}

static void to_file(const char *text, size_t bytes, void *arg)
{
	int fd = *(const int *)arg;

	/* asked each time: the program may still run, in other threads */
	hk_os_write(fd == 2 ? hk_stderr() : fd, text, bytes);
}

static void dump_to_file(const char *name, unsigned which)
{
	char path[1024];
	int fd;

	expand(path, sizeof(path), name, which);
	fd = hk_os_create(path);
	if (fd < 0) {
		hk_warn("HAKMEM_STATS=%s: can't write this file", name);
		return;
	}
	hk_report_json(which, to_file, &fd);
	hk_os_close(fd);
}

static bool is_off(const char *where) { return strcmp(where, "0") == 0 || strcmp(where, "") == 0; }

static void dump(const char *where)
{
	unsigned which = atomic_fetch_add_explicit(&number, 1, memory_order_relaxed);
	int fd = 2;

	if (strcmp(where, "1") == 0)
		hk_report_text(HK_PART_SUMMARY | HK_PART_COUNTERS, to_file, &fd);
	else if (strcmp(where, "json") == 0)
		hk_report_json(which, to_file, &fd);
	else
		dump_to_file(where, which);
}

/* ---- While the process runs ---- */

static void *dump_when_asked(void *arg)
{
	uint32_t seen = 0;

	for (;;) {
		const char *where = hk_option_text(HK_OPT_STATS);
		unsigned every = (unsigned)hk_option(HK_OPT_STATS_EVERY);
		uint32_t now;

		if (every != 0)
			hk_os_sleep_ms(every);
		else
			hk_os_wait(&asked, seen);
		now = atomic_load_explicit(&asked, memory_order_relaxed);
		if (every != 0 || now != seen)
			dump(is_off(where) ? "1" : where);
		seen = now;
	}
	return arg;
}

static void note_signal(int signal)
{
	(void)signal;
	atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
	hk_os_wake(&asked, 1);
}

static bool listen(const char *name)
{
	int signal = hk_signal_number(name);

	if (signal == 0)
		hk_warn("HAKMEM_STATS_SIGNAL=%s: not a signal that can be used", name);
	else if (!hk_signal_handle(signal, note_signal))
		hk_warn("HAKMEM_STATS_SIGNAL=%s: the signal is in use, or ignored", name);
	else
		return true;
	return false;
}

void hk_dump_begin(void)
{
	const char *signal = hk_option_text(HK_OPT_STATS_SIGNAL);
	bool wanted = hk_option(HK_OPT_STATS_EVERY) != 0;

	if (!is_off(signal) && listen(signal))
		wanted = true;
	if (wanted && !hk_thread_start(dump_when_asked))
		hk_warn("HAKMEM_STATS_SIGNAL, HAKMEM_STATS_EVERY: no thread can be made");
}

/* ---- At exit ---- */

__attribute__((destructor)) static void dump_at_exit(void)
{
	const char *where = hk_option_text(HK_OPT_STATS);
	unsigned parts = 0;
	int fd = 2;

	if (HK_MINIMAL)
		return;
	if (!is_off(where))
		dump(where);
	if (hk_option(HK_OPT_SS_OS_STATS))
		parts |= HK_PART_CALLS;
	if (hk_option(HK_OPT_SS_STATS_DUMP))
		parts |= HK_PART_SUPERSLABS;
	if (hk_option(HK_OPT_TINY_MEM_DUMP))
		parts |= HK_PART_TINY;
	if (hk_option(HK_OPT_WARM_POOL_STATS))
		parts |= HK_PART_WARM;
	if (parts != 0)
		hk_report_text(parts, to_file, &fd);
}
