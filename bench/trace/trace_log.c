/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The recorder's file. Owns the mapping, the chunks, and each thread's place in one.
 *
 * Chunks are taken from the end of what is used. What a thread leaves of its chunk when it ends
 * goes to the next thread that needs one, so a thousand threads that come and go use a few chunks.
 * After its last destructor a thread may still free: then it takes a piece for that event alone.
 *
 * The file is as long as its limit from the start, but sparse. A chunk's pages are made before it
 * is used, because a full disk would otherwise be a SIGBUS in the program. */
#define _GNU_SOURCE
#include "trace_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_LIMIT (UINT64_C(64) << 20)
#define LARGEST_LIMIT (UINT64_C(1) << 40)

enum {
	CHUNK_WORDS = TRACE_CHUNK_BYTES / 8,
	SPARE_MAX = 256,  /* pieces that wait for a thread; further ones are given up */
	SPARE_WORDS = 64, /* the smallest piece worth keeping */
};

/* Words of the file that one thread writes. `at` == `end`: none. */
struct piece {
	uint64_t *at;
	uint64_t *end;
};

struct thread {
	struct piece piece;
	uint64_t number;    /* from 1; 0: has not recorded yet */
	volatile bool busy; /* inside a call that is recorded; signal handlers look at it */
	bool ended;         /* past its last destructor */
	unsigned char rounds;
};

static _Thread_local struct thread self __attribute__((tls_model("initial-exec")));

static _Atomic bool *gate; /* true: record. NULL: not opened. False in a child of fork */
static struct trace_raw_header *header;
static uint64_t chunk_limit;
static pthread_key_t key;
static _Atomic uint64_t next_event = 1;
static _Atomic uint64_t next_thread = 1;

static struct {
	atomic_flag lock;
	unsigned int count;
	struct piece piece[SPARE_MAX];
} spare = { .lock = ATOMIC_FLAG_INIT };

/* ---- Chunks ---------------------------------------------------------------------------------- */

static void lock_spare(void)
{
	while (atomic_flag_test_and_set_explicit(&spare.lock, memory_order_acquire))
		sched_yield();
}

static void unlock_spare(void) { atomic_flag_clear_explicit(&spare.lock, memory_order_release); }

/* Pages that are written to from now on; false when the disk is full. */
static bool make_pages(void *chunk)
{
#ifdef MADV_POPULATE_WRITE
	/* Before Linux 5.14 it is unknown, and the risk is taken. */
	return madvise(chunk, TRACE_CHUNK_BYTES, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
#else
	(void)chunk;
	return true;
#endif
}

static struct piece take_chunk(void)
{
	uint64_t number = atomic_fetch_add(&header->chunks, 1);
	char *chunk = (char *)header + number * TRACE_CHUNK_BYTES;

	if (number >= chunk_limit || !make_pages(chunk))
		return (struct piece){ NULL, NULL };
	return (struct piece){ (uint64_t *)chunk, (uint64_t *)chunk + CHUNK_WORDS };
}

static struct piece take_piece(void)
{
	struct piece piece = { NULL, NULL };

	lock_spare();
	if (spare.count > 0)
		piece = spare.piece[--spare.count];
	unlock_spare();
	return piece.at ? piece : take_chunk();
}

static void give_piece(struct piece piece)
{
	if (piece.end - piece.at < SPARE_WORDS)
		return;
	lock_spare();
	if (spare.count < SPARE_MAX)
		spare.piece[spare.count++] = piece;
	unlock_spare();
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* The first word comes last: whoever reads the file stops before an event that is not whole. */
static void write_words(uint64_t first, const uint64_t *rest, unsigned int words)
{
	uint64_t *at = self.piece.at;

	for (unsigned int i = 0; i < words; i++)
		at[1 + i] = rest[i];
	atomic_store_explicit((_Atomic uint64_t *)at, first, memory_order_release);
	self.piece.at = at + 1 + words;
}

/* No room: what comes after this event is not recorded, and what others record meanwhile has higher
 * numbers, which a reader leaves out. */
static void stop_at(uint64_t event)
{
	uint64_t cut = atomic_load(&header->cut);

	while (event < cut && !atomic_compare_exchange_weak(&header->cut, &cut, event))
		;
	atomic_store(gate, false);
}

/* Room for one event in this thread's piece. */
static bool make_room(void)
{
	int error = errno;

	if (self.piece.end - self.piece.at >= TRACE_RAW_WORDS)
		return true;
	self.piece = take_piece();
	errno = error;
	if (!self.piece.at)
		return false;
	write_words(self.number << 8 | TRACE_THREAD, NULL, 0);
	return true;
}

void trace_log_put(enum trace_op op, unsigned int words, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t rest[] = { a, b, c };
	uint64_t event = atomic_fetch_add_explicit(&next_event, 1, memory_order_relaxed);

	if (!make_room())
		stop_at(event);
	else
		write_words(event << 8 | op, rest, words);
}

void trace_log_failed(void) { atomic_fetch_add(&header->failed, 1); }

/* ---- Threads --------------------------------------------------------------------------------- */

/* The destructor of a thread's key. Others' destructors may come after it: it asks for another
 * round until there is none. */
static void end_thread(void *value)
{
	self.busy = true;
	if (++self.rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(key, value);
	} else {
		self.ended = true;
		give_piece(self.piece);
		self.piece = (struct piece){ NULL, NULL };
	}
	self.busy = false;
}

bool trace_log_enter(void)
{
	if (!gate || !atomic_load_explicit(gate, memory_order_relaxed))
		return false;
	if (self.busy) {
		atomic_fetch_add_explicit(&header->skipped, 1, memory_order_relaxed);
		return false;
	}
	self.busy = true;
	if (self.number == 0) {
		self.number = atomic_fetch_add(&next_thread, 1);
		pthread_setspecific(key, &self);
	}
	return true;
}

void trace_log_leave(void)
{
	if (self.ended) {
		give_piece(self.piece);
		self.piece = (struct piece){ NULL, NULL };
	}
	self.busy = false;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* A name that is not taken: exec starts a new file under the same process id. */
static int open_new(const char *pattern)
{
	const char *mark = strstr(pattern, "%p");
	char path[PATH_MAX];
	int length, fd = -1;

	if (mark)
		length = snprintf(path, sizeof(path), "%.*s%d%s", (int)(mark - pattern), pattern,
				  (int)getpid(), mark + 2);
	else
		length = snprintf(path, sizeof(path), "%s", pattern);
	if (length < 0 || length >= (int)sizeof(path) - 8)
		return -1;
	for (int i = 1; fd < 0 && i < 1000; i++) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			break;
		snprintf(path + length, sizeof(path) - (size_t)length, ".%d", i);
	}
	return fd;
}

/* Bytes, rounded up to chunks; 0 when the text is no number. */
static uint64_t read_limit(void)
{
	const char *text = getenv("HAKMEM_TRACE_LIMIT");
	unsigned long long value = DEFAULT_LIMIT;
	char *end;

	if (text) {
		errno = 0;
		value = strtoull(text, &end, 10);
		if (text[0] < '0' || text[0] > '9' || *end || errno || value > LARGEST_LIMIT)
			return 0;
	}
	if (value < 2 * TRACE_CHUNK_BYTES)
		value = 2 * TRACE_CHUNK_BYTES;
	return (value + TRACE_CHUNK_BYTES - 1) / TRACE_CHUNK_BYTES * TRACE_CHUNK_BYTES;
}

/* The first word of the command line, without its folders: what the user called, where
 * /proc/self/exe has what a link leads to. */
static void read_program_name(char name[TRACE_NAME_BYTES])
{
	char line[PATH_MAX];
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, line, sizeof(line) - 1) : 0;
	const char *slash;

	if (fd >= 0)
		close(fd);
	line[length > 0 ? length : 0] = '\0';
	slash = strrchr(line, '/');
	snprintf(name, TRACE_NAME_BYTES, "%.*s", TRACE_NAME_BYTES - 1, slash ? slash + 1 : line);
}

static const char *map_file(int fd, uint64_t limit)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *file, *wiped;

	if (ftruncate(fd, (off_t)limit))
		return "cannot make the file that long";
	file = mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	wiped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file == MAP_FAILED || wiped == MAP_FAILED)
		return "cannot map the file";
	if (madvise(wiped, page, MADV_WIPEONFORK) || madvise(file, limit, MADV_DONTFORK))
		return "this kernel cannot keep it from children (MADV_WIPEONFORK)";
	if (!make_pages(file))
		return "no room on the disk";
	header = file;
	gate = wiped;
	return NULL;
}

static void write_header(void)
{
	memcpy(header->magic, TRACE_RAW_MAGIC, sizeof(header->magic));
	header->version = TRACE_RAW_VERSION;
	header->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	header->date = (uint64_t)time(NULL);
	header->cut = UINT64_MAX;
	header->chunks = 1;
	header->pid = (uint64_t)getpid();
	read_program_name(header->program);
}

static void complain(const char *why, const char *what)
{
	char text[PATH_MAX + 128];
	int length =
		snprintf(text, sizeof(text), "hakmem_trace: not recording: %s: %s\n", why, what);

	if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
		return;
}

bool trace_log_open(void)
{
	extern char **environ;
	const char *pattern, *trouble = NULL;
	int fd, error = errno;

	if (!environ)
		return false;
	pattern = getenv("HAKMEM_TRACE_FILE");
	if (!pattern || !*pattern)
		return true;
	chunk_limit = read_limit() / TRACE_CHUNK_BYTES;
	if (chunk_limit == 0) {
		complain("HAKMEM_TRACE_LIMIT is no number of bytes", getenv("HAKMEM_TRACE_LIMIT"));
		return true;
	}
	fd = open_new(pattern);
	if (fd < 0)
		trouble = "cannot create the file";
	else if (pthread_key_create(&key, end_thread))
		trouble = "no key for threads is left";
	else
		trouble = map_file(fd, chunk_limit * TRACE_CHUNK_BYTES);
	if (trouble) {
		complain(trouble, pattern);
	} else {
		write_header();
		atomic_store(gate, true);
	}
	if (fd >= 0)
		close(fd);
	errno = error;
	return true;
}
