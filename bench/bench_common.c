/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#include "bench_common.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define OPTION_MAX UINT64_C(1000000000000)

bool bench_touch;

static const char *program_name = "bench";

/* ---- Words on the way out -------------------------------------------------------------------- */

/* Formats into a buffer on the stack and writes at once: stdio would allocate. */
static void say(int fd, const char *format, va_list list)
{
	char text[1024];
	int length = vsnprintf(text, sizeof(text), format, list);

	if (length > (int)sizeof(text) - 1)
		length = sizeof(text) - 1;
	if (length > 0 && write(fd, text, (size_t)length) < 0)
		_exit(1);
}

static void print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(int fd, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say(fd, format, list);
	va_end(list);
}

static _Noreturn void refuse(const char *format, va_list list, bool usage)
{
	print(STDERR_FILENO, "%s: ", program_name);
	say(STDERR_FILENO, format, list);
	if (usage)
		print(STDERR_FILENO, " (see %s --help)", program_name);
	print(STDERR_FILENO, "\n");
	exit(2);
}

void bench_usage_error(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	refuse(format, list, true);
}

void bench_input_error(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	refuse(format, list, false);
}

void bench_damaged(const unsigned char *block, uint8_t tag)
{
	print(STDERR_FILENO,
	      "%s: block %p does not hold what was written: tag 0x%02x, first bytes "
	      "%02x %02x %02x %02x\n",
	      program_name, (const void *)block, tag, block[0], block[1], block[2], block[3]);
	abort();
}

void bench_no_memory(size_t size)
{
	print(STDERR_FILENO, "%s: malloc(%zu) returned NULL\n", program_name, size);
	exit(1);
}

/* ---- Stamps, generator, slots ---------------------------------------------------------------- */

void bench_touch_pages(unsigned char *block, size_t size, uint8_t tag)
{
	for (size_t at = BENCH_PAGE_MIN; at < size; at += BENCH_PAGE_MIN)
		block[at] = tag;
}

/* splitmix64's finish: neighbouring seeds give unrelated states. */
struct bench_rng bench_seed(uint64_t seed, uint64_t stream)
{
	uint64_t x = seed + (stream + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return (struct bench_rng){ .state = x ? x : 1 };
}

void bench_slots_init(struct bench_slots *s, size_t count, size_t size_min, size_t size_max,
		      struct bench_rng rng)
{
	s->slot = bench_map(count * sizeof(s->slot[0]));
	s->count = count;
	s->size_min = size_min;
	s->size_span = size_max - size_min + 1;
	s->rng = rng;
}

static inline __attribute__((always_inline)) void
run_slots(struct bench_slots *s, uint64_t operations, struct bench_latency *l)
{
	struct bench_rng rng = s->rng;
	unsigned char **slot = s->slot;

	for (uint64_t i = 0; i < operations; i++) {
		uint64_t random = bench_next(&rng);
		size_t k = bench_low(random, s->count);

		if (slot[k]) {
			bench_free_timed(slot[k], (uint8_t)k, l);
			slot[k] = NULL;
		} else {
			size_t size = s->size_min + bench_high(random, s->size_span);

			slot[k] = bench_malloc_timed(size, (uint8_t)k, l);
		}
	}
	s->rng = rng;
}

/* The loop is there twice: that which is not timed holds nothing of the timing. */
static __attribute__((noinline)) void run_slots_timed(struct bench_slots *s, uint64_t operations)
{
	run_slots(s, operations, s->latency);
}

static __attribute__((noinline)) void run_slots_untimed(struct bench_slots *s, uint64_t operations)
{
	run_slots(s, operations, NULL);
}

void bench_slots_run(struct bench_slots *s, uint64_t operations)
{
	if (s->latency)
		run_slots_timed(s, operations);
	else
		run_slots_untimed(s, operations);
}

void bench_slots_finish(struct bench_slots *s)
{
	for (size_t k = 0; k < s->count; k++) {
		if (s->slot[k])
			bench_free(s->slot[k], (uint8_t)k);
		s->slot[k] = NULL;
	}
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static _Noreturn void print_help(const char *about, const struct bench_arg *args, size_t count,
				 const struct bench_option *options)
{
	print(STDOUT_FILENO, "%s:", program_name);
	for (size_t i = 0; i < count; i++)
		print(STDOUT_FILENO, " [%s", args[i].name);
	for (size_t i = 0; i < count; i++)
		print(STDOUT_FILENO, "]");
	print(STDOUT_FILENO, "\n%s\n", about);
	for (size_t i = 0; i < count; i++)
		print(STDOUT_FILENO, "  %-10s %" PRIu64 "…%" PRIu64 ", default %" PRIu64 "\n",
		      args[i].name, args[i].min, args[i].max, args[i].value);
	print(STDOUT_FILENO, "  %-10s write every page of every block\n", "--touch");
	for (const struct bench_option *o = options; o && o->name; o++)
		print(STDOUT_FILENO, "  %s%s\n", o->name,
		      o->number ? " N"
		      : o->text ? " FILE"
				: "");
	print(STDOUT_FILENO, "HAKMEM_BENCH_PREFAULT=N: operations of warm-up that are not timed; "
			     "unset: a tenth of the run, 0: none\n");
	exit(0);
}

/* All digits and within the range, or a sentence. `kind` is what the text was: a variable or an
 * argument. */
static uint64_t parse_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		bench_usage_error("%s must be a number from %" PRIu64 " to %" PRIu64
				  ", and is '%s'",
				  name, min, max, text);
	return value;
}

/* The words of the command line that `word` is, with its value `next` (may be NULL): 0, 1 or 2. */
static int take_option(const char *word, const char *next, const struct bench_option *options)
{
	if (strcmp(word, "--touch") == 0)
		return bench_touch = true;
	for (const struct bench_option *o = options; o && o->name; o++) {
		if (strcmp(word, o->name) != 0)
			continue;
		if (o->value)
			return *o->value = true;
		if (o->text) {
			if (!next)
				bench_usage_error("%s needs the name of a file", word);
			*o->text = next;
			return 2;
		}
		*o->number = parse_number(word, next ? next : "nothing", 1, OPTION_MAX);
		return 2;
	}
	return 0;
}

void bench_parse(int argc, char **argv, const char *about, struct bench_arg *args, size_t count,
		 const struct bench_option *options)
{
	size_t given = 0;

	if (argc > 0) {
		const char *slash = strrchr(argv[0], '/');

		program_name = slash ? slash + 1 : argv[0];
	}
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (strcmp(word, "--help") == 0)
			print_help(about, args, count, options);
		if (word[0] == '-') {
			int words = take_option(word, argv[i + 1], options);

			if (words == 0)
				bench_usage_error("unknown option '%s'", word);
			i += words - 1;
			continue;
		}
		if (given == count)
			bench_usage_error("'%s' is one argument too many: it takes %zu", word,
					  count);
		args[given].value =
			parse_number(args[given].name, word, args[given].min, args[given].max);
		given++;
	}
}

uint64_t bench_env(const char *name, uint64_t fallback, uint64_t min, uint64_t max)
{
	const char *text = getenv(name);

	return text ? parse_number(name, text, min, max) : fallback;
}

uint64_t bench_prefault(uint64_t fallback)
{
	return bench_env("HAKMEM_BENCH_PREFAULT", fallback, 0, OPTION_MAX);
}

/* ---- System ---------------------------------------------------------------------------------- */

void *bench_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		print(STDERR_FILENO, "%s: no memory for a table of %zu bytes\n", program_name,
		      size);
		exit(1);
	}
	return p;
}

static uint64_t read_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

struct bench_time bench_now(void)
{
	return (struct bench_time){ .wall_ns = read_clock_ns(CLOCK_MONOTONIC),
				    .cpu_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID) };
}

struct bench_time bench_since(struct bench_time start)
{
	struct bench_time now = bench_now();

	return (struct bench_time){ .wall_ns = now.wall_ns - start.wall_ns,
				    .cpu_ns = now.cpu_ns - start.cpu_ns };
}

uint64_t bench_wall_ns(void) { return read_clock_ns(CLOCK_MONOTONIC); }

uint64_t bench_status_kib(const char *name)
{
	char text[8192];
	size_t length = 0;
	ssize_t got;
	const char *line;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';
	line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* The file whose malloc the program calls: the proof that a preload took effect. */
static const char *malloc_origin(void)
{
	Dl_info info;
	void *address = dlsym(RTLD_DEFAULT, "malloc");
	const char *slash;

	if (!address || !dladdr(address, &info) || !info.dli_fname)
		return "unknown";
	slash = strrchr(info.dli_fname, '/');
	return slash ? slash + 1 : info.dli_fname;
}

void bench_report(uint64_t operations, struct bench_time elapsed, uint64_t warm_up,
		  const char *program, const struct bench_arg *args, size_t count)
{
	uint64_t vmhwm_kib = bench_status_kib("VmHWM:");
	double seconds = (double)(elapsed.wall_ns ? elapsed.wall_ns : 1) / 1e9;
	char text[512] = "";
	size_t length = 0;

	for (size_t i = 0; i < count && length < sizeof(text); i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, " %s=%" PRIu64,
					   args[i].name, args[i].value);
	print(STDOUT_FILENO,
	      "Throughput = %.0f ops/s  bench=%s%s touch=%d ops=%" PRIu64 " warmup=%" PRIu64
	      " time=%.6fs cpu=%.6fs vmhwm=%" PRIu64 "KiB malloc=%s\n",
	      (double)operations / seconds, program, text, bench_touch, operations, warm_up,
	      seconds, (double)elapsed.cpu_ns / 1e9, vmhwm_kib, malloc_origin());
}
