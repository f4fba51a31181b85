/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "fake_os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MOST  4096u
#define FILES 16u

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hk_fake_range ranges[MOST]; /* by address, none touching the next */
static unsigned range_count;
static size_t mapped, peak, purged, limit = SIZE_MAX;
static size_t page = 4096;
static bool secure, refuse, no_guards;
static uint64_t huge_ns = 100000;
static uint64_t seed = 0x5eed;
static unsigned fail_after, fail_every, since_failure, taken_calls;
static struct hk_fake_counts counts;
static struct hk_os_counts os_counts;
static struct {
	char path[192], text[2048];
} files[FILES]; /* "": free */

_Atomic uint64_t hk_fake_now = 1000000000;

static void breach(const char *what, const void *addr, size_t bytes)
{
	fprintf(stderr, "fake_os: %s: %p + 0x%zx\n", what, addr, bytes);
	abort();
}

static void enter(int *saved)
{
	*saved = errno;
	pthread_mutex_lock(&mutex);
}

static void leave(int saved)
{
	pthread_mutex_unlock(&mutex);
	errno = saved;
}

/* So that the child of a fork does not find it taken by a thread that is gone. */
static void take_mutex(void) { pthread_mutex_lock(&mutex); }
static void drop_mutex(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void survive_forks(void)
{
	pthread_atfork(take_mutex, drop_mutex, drop_mutex);
}

/* ---- The list of mappings ---- */

static unsigned first_ending_after(uintptr_t at)
{
	unsigned i = 0;

	while (i < range_count && ranges[i].end <= at)
		i++;
	return i;
}

static bool has(uintptr_t start, uintptr_t end)
{
	unsigned i = first_ending_after(start);

	return i < range_count && ranges[i].start <= start && end <= ranges[i].end;
}

static bool overlaps(uintptr_t start, uintptr_t end)
{
	unsigned i = first_ending_after(start);

	return i < range_count && ranges[i].start < end;
}

static void remove_at(unsigned i)
{
	range_count--;
	memmove(&ranges[i], &ranges[i + 1], (range_count - i) * sizeof(ranges[0]));
}

static void insert_at(unsigned i, uintptr_t start, uintptr_t end)
{
	if (range_count == MOST)
		breach("too many mappings", (void *)start, end - start);
	memmove(&ranges[i + 1], &ranges[i], (range_count - i) * sizeof(ranges[0]));
	ranges[i] = (struct hk_fake_range){ start, end };
	range_count++;
}

static void note_map(uintptr_t start, uintptr_t end)
{
	unsigned i = first_ending_after(start);

	insert_at(i, start, end);
	if (i + 1 < range_count && ranges[i + 1].start == end) {
		ranges[i].end = ranges[i + 1].end;
		remove_at(i + 1);
	}
	if (i > 0 && ranges[i - 1].end == start) {
		ranges[i - 1].end = ranges[i].end;
		remove_at(i);
	}
	mapped += end - start;
	peak = hk_max(peak, mapped);
}

static void note_unmap(uintptr_t start, uintptr_t end)
{
	unsigned i = first_ending_after(start);
	struct hk_fake_range whole = ranges[i];

	remove_at(i);
	if (whole.end > end)
		insert_at(i, end, whole.end);
	if (whole.start < start)
		insert_at(i, whole.start, start);
	mapped -= end - start;
}

/* ---- Checks and failures ---- */

static void check(const char *call, const void *addr, size_t bytes)
{
	if ((uintptr_t)addr % page != 0 || bytes % page != 0 || bytes == 0)
		breach(call, addr, bytes);
}

static void check_mapped(const char *call, const void *addr, size_t bytes)
{
	check(call, addr, bytes);
	if (!has((uintptr_t)addr, (uintptr_t)addr + bytes))
		breach(call, addr, bytes);
}

/* Whether this map has to fail. */
static bool fails(size_t bytes)
{
	bool now = mapped + bytes > limit || mapped + bytes < mapped;

	if (fail_after != 0 && --fail_after == 0) {
		fail_after = 1;
		now = true;
	}
	if (fail_every != 0 && ++since_failure >= fail_every) {
		since_failure = 0;
		now = true;
	}
	counts.failed += now;
	return now;
}

/* Real memory, aligned to the fake page. */
static void *map_anywhere(size_t bytes)
{
	size_t room = bytes + page;
	char *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *start;

	if (p == MAP_FAILED)
		return NULL;
	start = (char *)hk_align_up((uintptr_t)p, page);
	if (start > p)
		munmap(p, (size_t)(start - p));
	munmap(start + bytes, room - bytes - (size_t)(start - p));
	return start;
}

/* ---- os.h ---- */

size_t hk_os_page(void) { return page; }

void *hk_os_map(size_t bytes)
{
	void *p = NULL;
	int saved;

	enter(&saved);
	check("map", NULL, bytes);
	counts.map++;
	os_counts.map++;
	if (!fails(bytes)) {
		p = map_anywhere(bytes);
		if (p != NULL)
			note_map((uintptr_t)p, (uintptr_t)p + bytes);
	}
	leave(saved);
	return p;
}

void *hk_os_map_at(void *addr, size_t bytes, bool *taken)
{
	uintptr_t start = (uintptr_t)addr;
	void *p = NULL;
	int saved;

	enter(&saved);
	check("map_at", addr, bytes);
	counts.map_at++;
	os_counts.map++;
	*taken = taken_calls > 0 || overlaps(start, start + bytes);
	if (taken_calls > 0)
		taken_calls--;
	if (!*taken && !fails(bytes)) {
		p = mmap(addr, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (p != MAP_FAILED && p != addr)
			munmap(p, bytes);
		if (p != addr) {
			*taken = p != MAP_FAILED || errno == EEXIST;
			p = NULL;
		} else {
			note_map(start, start + bytes);
		}
	}
	leave(saved);
	return p;
}

void hk_os_unmap(void *addr, size_t bytes)
{
	int saved;

	enter(&saved);
	check_mapped("unmap", addr, bytes);
	counts.unmap++;
	os_counts.unmap++;
	munmap(addr, bytes);
	note_unmap((uintptr_t)addr, (uintptr_t)addr + bytes);
	leave(saved);
}

void hk_os_name(void *addr, size_t bytes, const char *name)
{
	int saved;

	(void)name;
	enter(&saved);
	check_mapped("name", addr, bytes);
	leave(saved);
}

static void *remap(char *addr, size_t from, size_t to, bool may_move)
{
	char *p;

	if (to <= from) {
		if (to < from) {
			munmap(addr + to, from - to);
			note_unmap((uintptr_t)addr + to, (uintptr_t)addr + from);
		}
		return addr;
	}
	if (fails(to - from))
		return NULL;
	if (mremap(addr, from, to, 0) == addr) {
		note_map((uintptr_t)addr + from, (uintptr_t)addr + to);
		return addr;
	}
	if (!may_move)
		return NULL;
	p = map_anywhere(to);
	if (p == NULL || mremap(addr, from, from, MREMAP_MAYMOVE | MREMAP_FIXED, p) != p)
		breach("remap: the kernel refused", addr, to);
	note_unmap((uintptr_t)addr, (uintptr_t)addr + from);
	note_map((uintptr_t)p, (uintptr_t)p + to);
	return p;
}

void *hk_os_remap(void *addr, size_t old_bytes, size_t new_bytes, bool may_move)
{
	void *p;
	int saved;

	enter(&saved);
	check_mapped("remap", addr, old_bytes);
	check("remap", addr, new_bytes);
	counts.remap++;
	os_counts.remap++;
	p = remap(addr, old_bytes, new_bytes, may_move);
	leave(saved);
	return p;
}

void *hk_os_move(void *addr, size_t bytes)
{
	char *p = NULL;
	int saved;

	enter(&saved);
	check_mapped("move", addr, bytes);
	counts.remap++;
	os_counts.remap++;
	if (!fails(bytes))
		p = map_anywhere(bytes);
	if (p != NULL) {
		note_map((uintptr_t)p, (uintptr_t)p + bytes);
		memcpy(p, addr, bytes);
		madvise(addr, bytes, MADV_DONTNEED);
	}
	leave(saved);
	return p;
}

bool hk_os_purge(void *addr, size_t bytes)
{
	bool done = false;
	int saved;

	enter(&saved);
	check_mapped("purge", addr, bytes);
	counts.purge++;
	os_counts.purge++;
	if (!refuse && madvise(addr, bytes, MADV_DONTNEED) == 0) {
		purged += bytes;
		os_counts.purged_bytes += bytes;
		done = true;
	}
	leave(saved);
	return done;
}

bool hk_os_purge_lazily(void *addr, size_t bytes)
{
	bool done = !refuse;
	int saved;

	enter(&saved);
	check_mapped("purge_lazily", addr, bytes);
	counts.purge_lazily++;
	os_counts.purge++;
	if (done)
		memset(addr, 0xf5, bytes);
	leave(saved);
	return done;
}

void hk_os_keep_small(void *addr, size_t bytes)
{
	(void)addr;
	(void)bytes;
}

bool hk_os_populate(void *addr, size_t bytes)
{
	volatile char *p = addr;
	int saved;

	enter(&saved);
	check_mapped("populate", addr, bytes);
	counts.populate++;
	os_counts.populate++;
	for (size_t i = 0; i < bytes; i += 4096)
		p[i] = p[i];
	leave(saved);
	return true;
}

uint64_t hk_os_fault_huge(void *addr, size_t bytes, void *touch)
{
	int saved;

	enter(&saved);
	check_mapped("fault_huge", addr, bytes);
	counts.fault_huge++;
	os_counts.other += huge_ns != 0 ? 2 : 1;
	if (huge_ns != 0)
		*(volatile char *)touch = 0;
	leave(saved);
	return huge_ns;
}

static bool protect(const char *call, void *addr, size_t bytes, int how)
{
	bool done;
	int saved;

	enter(&saved);
	check_mapped(call, addr, bytes);
	if (how == PROT_NONE)
		counts.guard++;
	else
		counts.unguard++;
	done = madvise(addr, bytes, MADV_DONTNEED) == 0 && mprotect(addr, bytes, how) == 0;
	leave(saved);
	return done;
}

bool hk_os_guard(void *addr, size_t bytes)
{
	return !no_guards && protect("guard", addr, bytes, PROT_NONE);
}

/* What was not guarded keeps its contents: the tests do not mix. */
bool hk_os_unguard(void *addr, size_t bytes)
{
	return protect("unguard", addr, bytes, PROT_READ | PROT_WRITE);
}

bool hk_os_has_guards(void) { return !no_guards; }

uint64_t hk_os_random(void)
{
	uint64_t word;
	int saved;

	enter(&saved);
	word = seed = seed * 6364136223846793005u + 1442695040888963407u;
	leave(saved);
	return word;
}

uint64_t hk_os_now_ns(void) { return atomic_load(&hk_fake_now); }
uint64_t hk_os_seed(void) { return seed; }
bool hk_os_is_secure(void) { return secure; }

bool hk_os_is_mapped(const void *addr, size_t bytes)
{
	bool yes;
	int saved;

	enter(&saved);
	yes = has((uintptr_t)addr, (uintptr_t)addr + bytes);
	leave(saved);
	return yes;
}

void hk_os_wait(_Atomic uint32_t *word, uint32_t expected)
{
	int saved;

	enter(&saved);
	counts.wait++;
	leave(saved);
	/* Early returns are allowed; this one is very early. */
	if (atomic_load(word) == expected)
		sched_yield();
}

void hk_os_wake(_Atomic uint32_t *word, unsigned threads)
{
	int saved;

	(void)word, (void)threads;
	enter(&saved);
	counts.wake++;
	leave(saved);
}

int hk_os_read(const char *path, char *buf, size_t size)
{
	int saved, n = -1;

	enter(&saved);
	counts.read++;
	buf[0] = '\0';
	for (unsigned i = 0; i < FILES && n < 0; i++) {
		if (strcmp(files[i].path, path) == 0)
			n = snprintf(buf, size, "%s", files[i].text);
	}
	leave(saved);
	return n < (int)size ? n : (int)size - 1;
}

void hk_os_sleep_ms(unsigned ms) { hk_fake_advance_ms(ms); }

void hk_os_yield(void) { sched_yield(); }

struct hk_os_counts hk_os_counts(void)
{
	struct hk_os_counts copy;
	int saved;

	enter(&saved);
	copy = os_counts;
	leave(saved);
	return copy;
}

/* ---- fake_os.h ---- */

void hk_fake_reset(void)
{
	fail_after = fail_every = since_failure = taken_calls = 0;
	refuse = secure = no_guards = false;
	huge_ns = 100000;
	limit = SIZE_MAX;
	memset(files, 0, sizeof(files));
	seed = 0x5eed;
	peak = mapped;
	purged = 0;
	memset(&counts, 0, sizeof(counts));
	memset(&os_counts, 0, sizeof(os_counts));
}

void hk_fake_fail_after(unsigned n) { fail_after = n; }

void hk_fake_fail_every(unsigned n)
{
	fail_every = n;
	since_failure = 0;
}

void hk_fake_refuse_purge(bool no) { refuse = no; }
void hk_fake_huge(uint64_t ns) { huge_ns = ns; }

void hk_fake_no_guards(bool none) { no_guards = none; }
void hk_fake_taken(unsigned calls) { taken_calls = calls; }
void hk_fake_limit(size_t bytes) { limit = bytes; }

void hk_fake_file(const char *path, const char *text)
{
	unsigned i = 0;

	while (i < FILES && strcmp(files[i].path, path) != 0)
		i++;
	for (unsigned j = 0; i == FILES && j < FILES; j++)
		i = files[j].path[0] == '\0' ? j : i;
	if (i == FILES || strlen(path) >= sizeof(files[0].path) ||
	    (text != NULL && strlen(text) >= sizeof(files[0].text)))
		breach("no room for a file", path, 0);
	strcpy(files[i].path, text != NULL ? path : "");
	strcpy(files[i].text, text != NULL ? text : "");
}

void hk_fake_page(size_t bytes)
{
	if (range_count != 0 || (bytes != 4096 && bytes != 16384 && bytes != 65536))
		breach("no page size, or too late to choose it", NULL, bytes);
	page = bytes;
}

void hk_fake_secure(bool yes) { secure = yes; }
void hk_fake_seed(uint64_t s) { seed = s; }
void hk_fake_advance_ms(uint64_t ms) { atomic_fetch_add(&hk_fake_now, ms * 1000000); }
struct hk_fake_counts hk_fake_counts(void) { return counts; }
size_t hk_fake_mapped(void) { return mapped; }
size_t hk_fake_peak(void) { return peak; }
size_t hk_fake_purged(void) { return purged; }
unsigned hk_fake_mappings(void) { return range_count; }

struct hk_fake_range hk_fake_mapping(unsigned i)
{
	return i < range_count ? ranges[i] : (struct hk_fake_range){ 0, 0 };
}

bool hk_fake_has(const void *addr, size_t bytes)
{
	return has((uintptr_t)addr, (uintptr_t)addr + bytes);
}
