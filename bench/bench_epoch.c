/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#define _GNU_SOURCE /* syscall */
#include "bench_epoch.h"

#include <fcntl.h>
#include <hakmem/hakmem.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma weak hak_stats_get /* NULL unless hakmem is the allocator */

enum { CHUNK = 1 << 18 }; /* operations between two looks at the clock: some milliseconds */

/* ---- System calls of this process, by the kernel's tracepoint -------------------------------- */

static int open_call_counter(void)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	char path[128], text[32];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int fd;
		ssize_t length;

		snprintf(path, sizeof(path), "%s/events/raw_syscalls/sys_enter/id", places[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (length <= 0)
			continue;
		text[length] = '\0';
		attr.config = strtoull(text, NULL, 10);
		attr.disabled = 1;
		return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	}
	return -1;
}

static void start_counting(int fd)
{
	if (fd >= 0)
		(void)ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
}

/* Since the start, without the call that stops the counter; -1 when there is none. */
static int64_t stop_counting(int fd)
{
	uint64_t count;

	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) < 0 ||
	    read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return -1;
	return (int64_t)count;
}

/* ---- One epoch ------------------------------------------------------------------------------- */

struct sample {
	uint64_t minor_faults, major_faults;
	int64_t system_calls, hakmem_system_calls; /* -1: not known */
};

static struct sample take_sample(int counter, uint64_t stops)
{
	struct sample sample = { .hakmem_system_calls = -1 };
	struct rusage usage;
	struct hak_stats stats;

	sample.system_calls = stop_counting(counter);
	if (sample.system_calls >= 0)
		sample.system_calls -= (int64_t)stops;
	getrusage(RUSAGE_SELF, &usage);
	sample.minor_faults = (uint64_t)usage.ru_minflt;
	sample.major_faults = (uint64_t)usage.ru_majflt;
	if (hak_stats_get) {
		hak_stats_get(&stats);
		sample.hakmem_system_calls = (int64_t)stats.system_calls;
	}
	return sample;
}

static const char *count_text(char *text, size_t size, int64_t before, int64_t after)
{
	if (before < 0 || after < 0)
		return "";
	snprintf(text, size, "%" PRId64, after - before);
	return text;
}

static void print_row(uint64_t epoch, double time_s, uint64_t ops, struct bench_time t,
		      const struct sample *before, const struct sample *after)
{
	char calls[24], own_calls[24], text[512];
	double wall_s = (double)t.wall_ns / 1e9, cpu_s = (double)t.cpu_ns / 1e9;
	int length = snprintf(
		text, sizeof(text),
		"%" PRIu64 ",%.3f,%" PRIu64 ",%.6f,%.6f,%.0f,%.0f,%" PRIu64 ",%" PRIu64 ",%" PRIu64
		",%" PRIu64 ",%s,%s\n",
		epoch, time_s, ops, wall_s, cpu_s, (double)ops / wall_s, (double)ops / cpu_s,
		bench_status_kib("VmRSS:"), bench_status_kib("VmHWM:"),
		after->minor_faults - before->minor_faults,
		after->major_faults - before->major_faults,
		count_text(calls, sizeof(calls), before->system_calls, after->system_calls),
		count_text(own_calls, sizeof(own_calls), before->hakmem_system_calls,
			   after->hakmem_system_calls));

	if (write(STDOUT_FILENO, text, (size_t)length) != length)
		_exit(1); /* nobody reads any more */
}

uint64_t bench_epochs_run(struct bench_slots *s, uint64_t duration_s, uint64_t epoch_s)
{
	static const char head[] = "epoch,time_s,ops,wall_s,cpu_s,ops_per_s,ops_per_cpu_s,rss_kib,"
				   "vmhwm_kib,minor_faults,major_faults,system_calls,"
				   "hakmem_system_calls\n";
	int counter = open_call_counter();
	struct bench_time start = bench_now(), from = start;
	struct sample before = take_sample(counter, 0);
	uint64_t total = 0, epoch = 0, end_ns = 0;

	if (write(STDOUT_FILENO, head, sizeof(head) - 1) < 0)
		_exit(1);
	while (end_ns < duration_s * UINT64_C(1000000000)) {
		struct bench_time spent;
		struct sample after;
		uint64_t ops = 0;

		end_ns = ++epoch * epoch_s * UINT64_C(1000000000);
		from = bench_now();
		start_counting(counter);
		do {
			bench_slots_run(s, CHUNK);
			ops += CHUNK;
		} while (bench_wall_ns() - start.wall_ns < end_ns);
		after = take_sample(counter, epoch);
		spent = bench_since(from);
		print_row(epoch, (double)bench_since(start).wall_ns / 1e9, ops, spent, &before,
			  &after);
		before = after;
		total += ops;
	}
	if (counter >= 0)
		close(counter);
	return total;
}
