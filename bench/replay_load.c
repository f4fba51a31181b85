/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Two passes over the file: the first checks every event and counts those of each thread, the
 * second writes the lists. Nothing here allocates: both the file and the lists are mapped. */
#define _GNU_SOURCE /* mremap */
#include "replay_load.h"

#include "bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MAX_THREADS = 65536,
	MAX_ALIGN = 30,
	FIRST_BYTES = 1 << 20, /* of the buffer that a file is read to */
};

#define MAX_SIZE ((UINT64_C(1) << 47) - 1)

struct reader {
	const unsigned char *at;
	const unsigned char *end;
	const char *path;
	const struct trace_header *header;
	struct replay_list *list;
	uint8_t *live; /* by block */
	unsigned char *file;
	size_t room; /* bytes of its mapping */
	uint64_t events;
	uint32_t blocks; /* given so far */
	uint32_t threads;
	uint32_t thread;
	bool store; /* the second pass */
};

static _Noreturn void damaged(const struct reader *r, const char *what)
{
	bench_input_error("%s: damaged trace: event %" PRIu64 ": %s", r->path, r->events, what);
}

/* ---- File ------------------------------------------------------------------------------------ */

static void read_file(struct reader *r, const char *path)
{
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	size_t room = FIRST_BYTES, length = 0;
	unsigned char *bytes = bench_map(room);
	ssize_t got;

	r->path = path;
	if (fd < 0)
		bench_input_error("%s: %s", path, strerror(errno));
	while ((got = read(fd, bytes + length, room - length)) > 0) {
		length += (size_t)got;
		if (length < room)
			continue;
		bytes = mremap(bytes, room, 2 * room, MREMAP_MAYMOVE);
		if (bytes == MAP_FAILED)
			bench_input_error("%s: no memory for %zu bytes", path, 2 * room);
		room *= 2;
	}
	if (got < 0)
		bench_input_error("%s: %s", path, strerror(errno));
	if (fd != STDIN_FILENO)
		close(fd);
	r->file = bytes;
	r->room = room;
	r->at = bytes;
	r->end = bytes + length;
}

static void check_header(struct reader *r, struct trace_header *header)
{
	static const unsigned char xz[] = { 0xfd, '7', 'z', 'X', 'Z' }, gzip[] = { 0x1f, 0x8b };
	size_t length = (size_t)(r->end - r->at);

	if ((length > 5 && memcmp(r->at, xz, sizeof(xz)) == 0) ||
	    (length > 2 && memcmp(r->at, gzip, sizeof(gzip)) == 0))
		bench_input_error("%s: is compressed; pass it on with: xz -dc (or gzip -dc) %s | "
				  "… -",
				  r->path, r->path);
	if (length < sizeof(*header) || memcmp(r->at, TRACE_MAGIC, sizeof(header->magic)) != 0)
		bench_input_error("%s: is no trace of hakmem", r->path);
	memcpy(header, r->at, sizeof(*header));
	if (header->version != TRACE_VERSION)
		bench_input_error("%s: is of version %" PRIu32 ", and this program reads %d",
				  r->path, header->version, TRACE_VERSION);
	/* An event has at least a byte; so the tables are no larger than the file lets expect. */
	if (header->blocks > header->events || header->events > length ||
	    header->blocks >= UINT32_MAX || header->threads > MAX_THREADS ||
	    header->threads > length || header->threads == 0)
		bench_input_error("%s: damaged trace: its header has impossible counts", r->path);
	header->program[TRACE_NAME_BYTES - 1] = '\0';
	r->header = header;
	r->at += sizeof(*header);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static uint64_t read_number(struct reader *r)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; shift < 63; shift += 7) {
		if (r->at == r->end)
			damaged(r, "the file ends inside");
		value |= (uint64_t)(*r->at & 0x7f) << shift;
		if (*r->at++ < 0x80)
			return value;
	}
	damaged(r, "a number of more than 63 bits");
}

static uint64_t read_size(struct reader *r)
{
	uint64_t size = read_number(r);

	if (size > MAX_SIZE)
		damaged(r, "a size of 2^47 or more");
	return size;
}

static uint8_t read_align(struct reader *r)
{
	uint64_t align = read_number(r);

	if (align > MAX_ALIGN)
		damaged(r, "an alignment of more than 2^30");
	return (uint8_t)align;
}

/* A block that is live, which it is no longer then; 0 for NULL. */
static uint32_t read_block(struct reader *r)
{
	uint64_t back = read_number(r);
	uint32_t block;

	if (back == 0)
		return 0;
	if (back > r->blocks)
		damaged(r, "a block that was never given");
	block = r->blocks + 1 - (uint32_t)back;
	if (!r->live[block])
		damaged(r, "a block that is not live");
	r->live[block] = 0;
	return block;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* The product of a calloc's numbers, and the count that is passed on beside the size of one. */
static void read_array(struct reader *r, struct replay_event *e, bool keep_count)
{
	uint64_t count = read_size(r), size = read_size(r), bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > MAX_SIZE)
		damaged(r, "an array of 2^47 bytes or more");
	e->size = bytes;
	if (keep_count &&
	    bytes > 0) { /* calloc does not mind the order, and one of them is small */
		uint64_t less = count < size ? count : size;

		e->old = (uint32_t)less;
		e->size = bytes / less;
	}
}

static void give_block(struct reader *r, struct replay_event *e)
{
	if (r->blocks == r->header->blocks)
		damaged(r, "more blocks than the header has");
	e->block = ++r->blocks;
	r->live[e->block] = 1;
}

static struct replay_event read_event(struct reader *r, enum trace_op op)
{
	struct replay_event e = { .op = op };

	switch (op) {
	case TRACE_MALLOC:
	case TRACE_VALLOC:
	case TRACE_PVALLOC:
		e.size = read_size(r);
		break;
	case TRACE_CALLOC:
		read_array(r, &e, true);
		break;
	case TRACE_REALLOC:
		e.old = read_block(r);
		e.size = read_size(r);
		break;
	case TRACE_REALLOCARRAY:
		e.old = read_block(r);
		read_array(r, &e, false);
		break;
	case TRACE_ALIGNED_ALLOC:
	case TRACE_POSIX_MEMALIGN:
	case TRACE_MEMALIGN:
		e.align = read_align(r);
		e.size = read_size(r);
		break;
	case TRACE_FREE:
	case TRACE_FREE_SIZED:
		e.old = read_block(r);
		return e;
	case TRACE_FREE_ALIGNED_SIZED:
		e.old = read_block(r);
		e.align = read_align(r);
		return e;
	default:
		damaged(r, "an operation that does not exist");
	}
	give_block(r, &e);
	return e;
}

static void append(struct reader *r, uint32_t thread, struct replay_event e)
{
	struct replay_list *list = &r->list[thread];

	if (r->store)
		list->event[list->count] = e;
	list->count++;
}

/* Another thread's events follow. One that is new is started by the thread whose event came just
 * before: most often the one that had called pthread_create. */
static void change_thread(struct reader *r)
{
	uint64_t number = read_number(r);

	if (number > r->threads || number >= r->header->threads)
		damaged(r, "a thread out of turn");
	if (number == r->threads) {
		append(r, r->thread,
		       (struct replay_event){ .op = REPLAY_START, .block = (uint32_t)number });
		r->threads++;
		r->list[number].first_epoch = r->events / REPLAY_EPOCH_EVENTS;
		r->list[number].epoch = r->list[number].first_epoch;
	}
	r->thread = (uint32_t)number;
}

static void enter_epoch(struct reader *r)
{
	uint64_t epoch = r->events / REPLAY_EPOCH_EVENTS;

	if (epoch == r->list[r->thread].epoch)
		return;
	append(r, r->thread, (struct replay_event){ .op = REPLAY_EPOCH, .block = (uint32_t)epoch });
	r->list[r->thread].epoch = epoch;
}

static void read_events(struct reader *r)
{
	r->threads = 1;
	for (;;) {
		enum trace_op op;

		if (r->at == r->end)
			damaged(r, "the file ends before the trace does");
		op = (enum trace_op) * r->at++;
		if (op == TRACE_END)
			break;
		if (op == TRACE_THREAD) {
			change_thread(r);
			continue;
		}
		enter_epoch(r);
		append(r, r->thread, read_event(r, op));
		r->events++;
	}
	if (r->at != r->end)
		damaged(r, "the file goes on after the end of the trace");
	if (r->events != r->header->events || r->blocks != r->header->blocks ||
	    r->threads != r->header->threads)
		damaged(r, "the header has other counts than the trace");
}

void replay_load(struct replay_trace *trace, const char *path)
{
	struct reader check = { 0 }, store;

	read_file(&check, path);
	check_header(&check, &trace->header);
	trace->list = bench_map(trace->header.threads * sizeof(trace->list[0]));
	check.list = trace->list;
	check.live = bench_map(trace->header.blocks + 1);
	store = check;
	store.store = true;
	read_events(&check);

	for (uint32_t i = 0; i < trace->header.threads; i++) {
		struct replay_list *list = &trace->list[i];

		list->event = bench_map((list->count + 1) * sizeof(list->event[0]));
		list->count = 0;
		list->epoch = 0;
	}
	memset(check.live, 0, trace->header.blocks + 1);
	read_events(&store);
	munmap(check.live, trace->header.blocks + 1);
	munmap(check.file, check.room);
}
