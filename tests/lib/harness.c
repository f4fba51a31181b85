/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_FAILURES 20u
#define WHOLE         (64 * T_KiB) /* longer patterns are sparse */
#define EDGE          (4 * T_KiB)
#define STRIDE        (36 * T_KiB) /* not in every page, of 4 KiB at least */

static _Atomic unsigned failures;
static const char *volatile current = "";

void t_say(const char *fmt, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(3);
}

static void count_failure(void)
{
	if (atomic_fetch_add(&failures, 1) + 1 >= MOST_FAILURES) {
		t_say("too many failures");
		_exit(1);
	}
}

void t_failed(const char *file, int line, const char *text)
{
	t_say("%s:%d: %s: failed: %s", file, line, current, text);
	count_failure();
}

void t_failed_at(const char *file, int line, const char *text, uint64_t n)
{
	t_say("%s:%d: %s: failed at %llu (0x%llx): %s", file, line, current, (unsigned long long)n,
	      (unsigned long long)n, text);
	count_failure();
}

void t_compare(const char *file, int line, const char *text, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	t_say("%s:%d: %s: failed: %s: %llu (0x%llx), not %llu (0x%llx)", file, line, current, text,
	      (unsigned long long)got, (unsigned long long)got, (unsigned long long)want,
	      (unsigned long long)want);
	count_failure();
}

void t_fatal(const char *file, int line, const char *text)
{
	t_say("%s:%d: %s: failed, cannot go on: %s (errno %d)", file, line, current, text, errno);
	_exit(1);
}

unsigned t_failures(void) { return atomic_load(&failures); }

void t_skip(const char *why)
{
	t_say("skipped: %s", why);
	_exit(T_SKIP);
}

static void last_words(int sig)
{
	t_say("signal %d in case %s", sig, current);
	signal(sig, SIG_DFL);
	raise(sig);
}

static bool wanted(int argc, char **argv, const char *name)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return false;
}

int t_main(int argc, char **argv, const struct t_case *cases, size_t count)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
	size_t ran = 0;

	for (size_t i = 0; i < T_COUNT(fatal); i++)
		signal(fatal[i], last_words);
	for (size_t i = 0; i < count; i++) {
		unsigned before = t_failures();
		uint64_t start = t_now_ms();

		if (!wanted(argc, argv, cases[i].name))
			continue;
		current = cases[i].name;
		errno = 0;
		cases[i].run();
		ran++;
		t_say("%s %s (%u ms)", t_failures() == before ? "ok    " : "FAILED", cases[i].name,
		      (unsigned)(t_now_ms() - start));
	}
	current = "exit";
	if (ran == 0) {
		t_say("no such case");
		return 2;
	}
	return t_failures() == 0 ? 0 : 1;
}

size_t t_scale(size_t n, size_t least)
{
	const char *text = getenv("HKTEST_SCALE");
	size_t scale = text != NULL ? strtoul(text, NULL, 10) : 1;

	if (scale > 1)
		n /= scale;
	return n > least ? n : least;
}

static inline uint64_t word_at(size_t offset, uint64_t key)
{
	return (key ^ (offset >> 3)) * 0x9e3779b97f4a7c15u;
}

static inline uint8_t byte_at(size_t offset, uint64_t key)
{
	return (uint8_t)(word_at(offset, key) >> (8 * (offset & 7)));
}

static void fill_range(uint8_t *p, size_t from, size_t to, uint64_t key)
{
	size_t i = from;

	while (i < to && (i & 7) != 0) {
		p[i] = byte_at(i, key);
		i++;
	}
	for (; i + 8 <= to; i += 8) {
		uint64_t w = word_at(i, key);

		memcpy(p + i, &w, 8);
	}
	for (; i < to; i++)
		p[i] = byte_at(i, key);
}

static bool range_holds(const uint8_t *p, size_t from, size_t to, uint64_t key)
{
	size_t i = from;

	for (; i < to && (i & 7) != 0; i++)
		if (p[i] != byte_at(i, key))
			return false;
	for (; i + 8 <= to; i += 8) {
		uint64_t w = word_at(i, key);

		if (memcmp(p + i, &w, 8) != 0)
			return false;
	}
	for (; i < to; i++)
		if (p[i] != byte_at(i, key))
			return false;
	return true;
}

void t_fill(void *p, size_t n, uint64_t key)
{
	if (n <= WHOLE) {
		fill_range(p, 0, n, key);
		return;
	}
	fill_range(p, 0, EDGE, key);
	for (size_t i = EDGE; i + 8 <= n - EDGE; i += STRIDE)
		fill_range(p, i, i + 8, key);
	fill_range(p, n - EDGE, n, key);
}

bool t_holds(const void *p, size_t n, size_t filled, uint64_t key)
{
	size_t end = n < filled ? n : filled;

	if (filled <= WHOLE)
		return range_holds(p, 0, end, key);
	if (!range_holds(p, 0, end < EDGE ? end : EDGE, key))
		return false;
	for (size_t i = EDGE; i + 8 <= filled - EDGE && i + 8 <= end; i += STRIDE)
		if (!range_holds(p, i, i + 8, key))
			return false;
	return end <= filled - EDGE || range_holds(p, filled - EDGE, end, key);
}

bool t_is_zero(const void *p, size_t n)
{
	const unsigned char *b = p;

	return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

size_t t_status_kib(const char *field)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, got;
	char *at;

	if (fd < 0)
		return 0;
	while ((got = read(fd, text + n, sizeof(text) - 1 - (size_t)n)) > 0)
		n += got;
	close(fd);
	text[n] = '\0';
	at = strstr(text, field);
	if (at == NULL || at[strlen(field)] != ':')
		return 0;
	return strtoul(at + strlen(field) + 1, NULL, 10);
}

void t_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

uint64_t t_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

pthread_t t_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	t_need(pthread_attr_init(&attr) == 0);
	t_need(pthread_attr_setstacksize(&attr, 256 * T_KiB) == 0);
	err = pthread_create(&thread, &attr, fn, arg);
	if (err != 0) {
		errno = err;
		t_fatal(__FILE__, __LINE__, "pthread_create");
	}
	pthread_attr_destroy(&attr);
	return thread;
}

void *t_join(pthread_t thread)
{
	void *result = NULL;

	t_need(pthread_join(thread, &result) == 0);
	return result;
}
