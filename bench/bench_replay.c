/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Replays a recorded trace: every thread of the program is a thread here, which does that thread's
 * calls in their order, and starts and ends where it did. Between threads, two things hold: a block
 * is there before another thread frees it, and no thread runs far ahead of the others
 * (replay_load.h). An operation is one call of the program.
 *
 * The first and the last byte of every block are written, and checked when it is freed or moved;
 * those of a calloc must be zero, and an aligned block must be aligned. */
#define _GNU_SOURCE
#include "bench_common.h"

#include "replay_load.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LAST_EPOCH (UINT64_MAX - 1)

enum {
	YIELDS = 512, /* before a thread that waits goes to sleep */
	SLEEP_NS = 20 * 1000,
};

/* What libc may not have, and an allocator may. */
extern void free_sized(void *p, size_t size) __attribute__((weak));
extern void free_aligned_sized(void *p, size_t alignment, size_t size) __attribute__((weak));

/* By block number. */
struct slot {
	unsigned char *_Atomic block; /* NULL: not yet there, or freed */
	size_t size;
};

struct worker {
	pthread_t thread;
	_Atomic bool started;
	_Atomic uint64_t epoch; /* of its next event, LAST_EPOCH when it has none */
};

static struct replay_trace trace;
static struct slot *slots;
static struct worker *workers;

/* ---- Waiting --------------------------------------------------------------------------------- */

static void wait_a_little(unsigned int *times)
{
	if (++*times < YIELDS)
		sched_yield();
	else
		nanosleep(&(struct timespec){ .tv_nsec = SLEEP_NS }, NULL);
}

static unsigned char *wait_for_block(uint32_t number)
{
	unsigned int times = 0;
	unsigned char *block;

	while (!(block = atomic_load_explicit(&slots[number].block, memory_order_acquire)))
		wait_a_little(&times);
	return block;
}

/* Until no other thread is more than one epoch behind. */
static void begin_epoch(struct worker *self, uint64_t epoch)
{
	unsigned int times = 0;

	atomic_store_explicit(&self->epoch, epoch, memory_order_release);
	for (uint32_t i = 0; i < trace.header.threads; i++) {
		while (atomic_load_explicit(&workers[i].epoch, memory_order_acquire) + 1 < epoch)
			wait_a_little(&times);
	}
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static unsigned char *get(uint32_t number)
{
	unsigned char *block = atomic_load_explicit(&slots[number].block, memory_order_acquire);

	return __builtin_expect(block != NULL, 1) ? block : wait_for_block(number);
}

/* A block of no bytes may be NULL, but a slot must not. */
static unsigned char no_bytes[1];

static void put(uint32_t number, unsigned char *block, size_t size)
{
	uint8_t tag = (uint8_t)number;

	if (__builtin_expect(!block, 0)) {
		if (size > 0)
			bench_no_memory(size);
		block = no_bytes;
	}
	if (size > 0) {
		block[0] = tag;
		if (__builtin_expect(bench_touch, 0))
			bench_touch_pages(block, size, tag);
		block[size - 1] = tag;
	}
	slots[number].size = size;
	atomic_store_explicit(&slots[number].block, block, memory_order_release);
}

/* The block, out of its slot, and its size; NULL and 0 for number 0. */
static unsigned char *take(uint32_t number, size_t *size_out)
{
	unsigned char *block;
	size_t size;

	*size_out = 0;
	if (number == 0)
		return NULL;
	block = get(number);
	*size_out = size = slots[number].size;
	atomic_store_explicit(&slots[number].block, NULL, memory_order_relaxed);
	if (block == no_bytes)
		return NULL;
	if (size > 0 && (block[0] != (uint8_t)number || block[size - 1] != (uint8_t)number))
		bench_damaged(block, (uint8_t)number);
	return block;
}

static void check_zero(const unsigned char *block, size_t size)
{
	if (block && size > 0 && (block[0] != 0 || block[size - 1] != 0))
		bench_damaged(block, 0);
}

static unsigned char *allocate_aligned(const struct replay_event *e)
{
	size_t alignment = (size_t)1 << e->align;
	void *block = NULL;

	if (e->op == TRACE_POSIX_MEMALIGN) {
		if (posix_memalign(&block, alignment, e->size))
			block = NULL;
	} else if (e->op == TRACE_ALIGNED_ALLOC) {
		block = aligned_alloc(alignment, e->size);
	} else {
		block = memalign(alignment, e->size);
	}
	if ((uintptr_t)block & (alignment - 1))
		bench_damaged(block, 0);
	return block;
}

/* By the pages of this machine. */
static unsigned char *allocate_pages(const struct replay_event *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = e->size;

	if (e->op == TRACE_PVALLOC)
		size = (size + page - 1) / page * page;
	return memalign(page, size);
}

/* What was written to the old block must be in the new one. */
static void reallocate(const struct replay_event *e)
{
	size_t had, kept;
	unsigned char *old = take(e->old, &had);
	unsigned char *block;

	kept = had < e->size ? had : e->size;
	if (e->op == TRACE_REALLOCARRAY)
		block = reallocarray(old, e->size, 1);
	else
		block = realloc(old, e->size);
	if (block && kept > 0 &&
	    (block[0] != (uint8_t)e->old || (had == kept && block[had - 1] != (uint8_t)e->old)))
		bench_damaged(block, (uint8_t)e->old);
	put(e->block, block, e->size);
}

static void release(const struct replay_event *e)
{
	size_t size;
	unsigned char *block = take(e->old, &size);

	if (e->op == TRACE_FREE_SIZED && free_sized)
		free_sized(block, size);
	else if (e->op == TRACE_FREE_ALIGNED_SIZED && free_aligned_sized)
		free_aligned_sized(block, (size_t)1 << e->align, size);
	else
		free(block);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *work(void *arg);

static void start_thread(uint32_t number)
{
	struct worker *w = &workers[number];

	if (pthread_create(&w->thread, NULL, work, w))
		bench_input_error("thread %" PRIu32 " cannot be started", number);
	atomic_store_explicit(&w->started, true, memory_order_release);
}

static void do_event(struct worker *self, const struct replay_event *e)
{
	unsigned char *block;

	switch (e->op) {
	case TRACE_MALLOC:
		put(e->block, malloc(e->size), e->size);
		break;
	case TRACE_FREE:
	case TRACE_FREE_SIZED:
	case TRACE_FREE_ALIGNED_SIZED:
		release(e);
		break;
	case TRACE_CALLOC:
		block = calloc(e->old, e->size);
		check_zero(block, e->old * e->size);
		put(e->block, block, e->old * e->size);
		break;
	case TRACE_REALLOC:
	case TRACE_REALLOCARRAY:
		reallocate(e);
		break;
	case TRACE_VALLOC:
	case TRACE_PVALLOC:
		put(e->block, allocate_pages(e), e->size);
		break;
	case REPLAY_START:
		start_thread(e->block);
		break;
	case REPLAY_EPOCH:
		begin_epoch(self, e->block);
		break;
	default:
		put(e->block, allocate_aligned(e), e->size);
	}
}

static void *work(void *arg)
{
	struct worker *self = arg;
	const struct replay_list *list = &trace.list[self - workers];

	for (size_t i = 0; i < list->count; i++)
		do_event(self, &list->event[i]);
	atomic_store_explicit(&self->epoch, LAST_EPOCH, memory_order_release);
	return NULL;
}

/* ---- Program --------------------------------------------------------------------------------- */

static struct bench_time replay(void)
{
	struct bench_time start;

	for (uint32_t i = 0; i < trace.header.threads; i++) {
		workers[i].started = i == 0;
		workers[i].epoch = trace.list[i].first_epoch;
	}
	start = bench_now();
	work(&workers[0]);
	for (uint32_t i = 1; i < trace.header.threads; i++) {
		unsigned int times = 0;

		while (!atomic_load_explicit(&workers[i].started, memory_order_acquire))
			wait_a_little(&times);
		pthread_join(workers[i].thread, NULL);
	}
	return bench_since(start);
}

/* What the program had not freed when the recording ended. */
static void free_rest(void)
{
	size_t size;

	for (uint32_t i = 1; i <= trace.header.blocks; i++) {
		if (slots[i].block)
			free(take(i, &size));
	}
}

/* RSS in KiB. The peak is counted from here on, without what loading took, if the kernel can. */
static uint64_t begin_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	ssize_t written = fd >= 0 ? write(fd, "5", 1) : 0;

	if (fd >= 0)
		close(fd);
	(void)written;
	return bench_status_kib("VmRSS:");
}

/* The last word of the command line. */
static const char *take_file(int *argc, char **argv)
{
	const char *last = *argc > 1 ? argv[*argc - 1] : "--help";

	if (last[0] == '-' && last[1])
		return NULL;
	argv[--*argc] = NULL;
	return last;
}

int main(int argc, char **argv)
{
	uint64_t repeat = 1;
	struct bench_option options[] = { { .name = "--repeat", .number = &repeat }, { 0 } };
	const char *path = take_file(&argc, argv);
	struct bench_time sum = { 0 };
	uint64_t base_kib;

	bench_parse(
		argc, argv,
		"[--repeat N] FILE: replays a trace that `hakmem trace` has recorded; FILE is not "
		"compressed, or -\nfor stdin. There is no warm-up: a program has none either.",
		NULL, 0, options);
	if (!path)
		bench_usage_error("the last word must be the file of a trace, or - for stdin");
	replay_load(&trace, path);
	slots = bench_map((trace.header.blocks + 1) * sizeof(slots[0]));
	workers = bench_map(trace.header.threads * sizeof(workers[0]));
	/* No page fault of the table in the time that is measured. */
	memset(slots, 0, (trace.header.blocks + 1) * sizeof(slots[0]));
	base_kib = begin_peak();
	for (uint64_t i = 0; i < repeat; i++) {
		struct bench_time once = replay();

		sum.wall_ns += once.wall_ns;
		sum.cpu_ns += once.cpu_ns;
		if (i + 1 < repeat)
			free_rest();
	}
	bench_report(trace.header.events * repeat, sum, 0, "replay",
		     (struct bench_arg[]){ { "THREADS", trace.header.threads, 0, 0 },
					   { "BLOCKS", trace.header.blocks, 0, 0 },
					   { "REPEAT", repeat, 0, 0 },
					   { "BASE_KIB", base_kib, 0, 0 } },
		     4);
	return 0;
}
