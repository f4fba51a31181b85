/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#define _GNU_SOURCE /* mremap, mincore, MAP_ANONYMOUS */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/options.h"

/* The C library's wrappers where they are no cancellation points, so that the sanitizers see the
 * mappings; syscall(2) elsewhere. */

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* linux/futex.h is not where musl's compiler looks. */
#define FUTEX_WAIT_PRIVATE (0 | 128)
#define FUTEX_WAKE_PRIVATE (1 | 128)

#define RARE_FIRST 64 /* maps that always work in rare builds, so that programs start */
#define RARE_EVERY 7

enum count { MAP, UNMAP, REMAP, PURGE, POPULATE, OTHER, PURGED_BYTES, COUNTS };

static alignas(64) _Atomic uint64_t counts[COUNTS] HK_NEAR;

static void count(enum count what, uint64_t n)
{
	atomic_fetch_add_explicit(&counts[what], n, memory_order_relaxed);
}

static uint64_t counted(enum count what)
{
	return atomic_load_explicit(&counts[what], memory_order_relaxed);
}

struct hk_os_counts hk_os_counts(void)
{
	return (struct hk_os_counts){
		.map = counted(MAP),
		.unmap = counted(UNMAP),
		.remap = counted(REMAP),
		.purge = counted(PURGE),
		.populate = counted(POPULATE),
		.other = counted(OTHER),
		.purged_bytes = counted(PURGED_BYTES),
	};
}

size_t hk_os_page(void)
{
	static _Atomic size_t page HK_NEAR;
	size_t bytes = atomic_load_explicit(&page, memory_order_relaxed);

	if (HK_UNLIKELY(bytes == 0)) {
		bytes = getauxval(AT_PAGESZ);
		atomic_store_explicit(&page, bytes, memory_order_relaxed);
	}
	return bytes;
}

/* OS1, at every check level: qemu and old kernels forgive what others turn into damage. */
static void verify_range(const void *addr, size_t bytes)
{
	hk_verify((((uintptr_t)addr | bytes) & (hk_os_page() - 1)) == 0);
	hk_verify(bytes != 0);
}

/* Rare builds: memory is short now and then, but not twice in a row for one thread, which tries again. */
static bool refuse_for_test(void)
{
	static _Thread_local uint32_t spared; /* so many maps will work */

	if (!HK_RARE || counted(MAP) <= RARE_FIRST)
		return false;
	if (spared != 0) {
		spared--;
		return false;
	}
	if (counted(MAP) % RARE_EVERY != 0)
		return false;
	spared = RARE_EVERY;
	return true;
}

/* NULL and errno when refused. */
static void *map(void *addr, size_t bytes, int flags)
{
	void *p;

	verify_range(addr, bytes);
	count(MAP, 1);
	if (refuse_for_test()) {
		errno = ENOMEM;
		return NULL;
	}
	p = mmap(addr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void *hk_os_map(size_t bytes)
{
	int saved_errno = errno;
	void *p = map(NULL, bytes, 0);

	errno = saved_errno;
	return p;
}

void *hk_os_map_at(void *addr, size_t bytes, bool *taken)
{
	int saved_errno = errno;
	void *p = map(addr, bytes, MAP_FIXED_NOREPLACE);

	*taken = p ? p != addr : errno == EEXIST;
	if (p && *taken) {
		/* The kernel does not know the flag, and took the address as a hint. */
		hk_os_unmap(p, bytes);
		p = NULL;
	}
	errno = saved_errno;
	return p;
}

/* Off by default: a sandbox that knows what malloc needs need not know prctl. */
void hk_os_name(void *addr, size_t bytes, const char *name)
{
	static _Atomic bool refused; /* Linux 5.17 and later, when they are built for it */
	int saved_errno = errno;

	if (!hk_option(HK_OPT_NAMES) || atomic_load_explicit(&refused, memory_order_relaxed))
		return;
	verify_range(addr, bytes);
	count(OTHER, 1);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, bytes, name) != 0 && errno != ENOMEM)
		atomic_store_explicit(&refused, true, memory_order_relaxed);
	errno = saved_errno;
}

void hk_os_unmap(void *addr, size_t bytes)
{
	int saved_errno = errno;

	verify_range(addr, bytes);
	count(UNMAP, 1);
	/* Cutting a hole fails when the process has all the mappings it may have. Then the addresses
	 * are lost, but the memory need not be. */
	if (munmap(addr, bytes) != 0)
		madvise(addr, bytes, MADV_DONTNEED);
	errno = saved_errno;
}

void *hk_os_remap(void *addr, size_t old_bytes, size_t new_bytes, bool may_move)
{
	int saved_errno = errno;
	void *p;

	verify_range(addr, old_bytes);
	verify_range(addr, new_bytes);
	count(REMAP, 1);
	p = mremap(addr, old_bytes, new_bytes, may_move ? MREMAP_MAYMOVE : 0);
	errno = saved_errno;
	return p == MAP_FAILED ? NULL : p;
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void *move_pages(void *addr, size_t bytes)
{
	void *p;

	count(REMAP, 1);
	p = mremap(addr, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	return p == MAP_FAILED ? NULL : p;
}

/* What the kernel can do, found out by trying once. Of threads that race here, one may be short of the memory
 * to try with: the first answer holds for all. */
static bool works(_Atomic int *state, bool (*probe)(void))
{
	enum { UNKNOWN, WORKS, FAILS };
	int now = atomic_load_explicit(state, memory_order_relaxed);

	if (HK_UNLIKELY(now == UNKNOWN)) {
		int found = probe() ? WORKS : FAILS;

		if (atomic_compare_exchange_strong_explicit(
			    state, &now, found, memory_order_relaxed, memory_order_relaxed))
			now = found;
	}
	return now == WORKS;
}

/* Is the old range mapped afterwards? qemu-user takes it for unmapped. Asked by a mapping of the same
 * place, which must be refused, since a sandbox may allow no other question. */
static bool probe_move(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(page), *q, *again;
	bool done;

	if (!p)
		return false;
	q = move_pages(p, page);
	if (q == NULL) {
		hk_os_unmap(p, page);
		return false;
	}
	hk_os_unmap(q, page);
	again = map(p, page, MAP_FIXED_NOREPLACE);
	done = q != p && again == NULL && errno == EEXIST;
	if (again != NULL && again != p)
		hk_os_unmap(again, page);
	hk_os_unmap(p, page);
	return done;
}

void *hk_os_move(void *addr, size_t bytes)
{
	static _Atomic int state;
	int saved_errno = errno;
	void *p;

	verify_range(addr, bytes);
	p = works(&state, probe_move) ? move_pages(addr, bytes) : NULL;
	errno = saved_errno;
	return p;
}

static bool advise(void *addr, size_t bytes, int advice, enum count what)
{
	int saved_errno = errno;
	bool done;

	verify_range(addr, bytes);
	count(what, 1);
	done = madvise(addr, bytes, advice) == 0;
	errno = saved_errno;
	return done;
}

/* How pages can be given back. Whether the kernel has madvise at all is found out by trying; but a
 * page that is locked says nothing of pages that aren't. */
enum purge_way { PURGE_UNKNOWN, PURGE_ADVISE, PURGE_REPLACE };

/* Does a purged page read as zero? Old versions of qemu-user report success and do nothing; kernels
 * are built without madvise, and sandboxes refuse it. */
static enum purge_way probe_purge(void)
{
	enum purge_way way = PURGE_UNKNOWN;
	size_t page = hk_os_page();
	volatile unsigned char *p = hk_os_map(page);

	if (!p)
		return PURGE_UNKNOWN;
	*p = 1;
	count(PURGE, 1);
	if (madvise((void *)(uintptr_t)p, page, MADV_DONTNEED) == 0)
		way = *p == 0 ? PURGE_ADVISE : PURGE_REPLACE;
	else if (errno == ENOSYS || errno == EPERM)
		way = PURGE_REPLACE;
	hk_os_unmap((void *)(uintptr_t)p, page);
	return way;
}

/* A new mapping in the place of the old one. Should the kernel take the old one and refuse the new one,
 * there is a hole in the heap, and no way on. */
static bool replace(void *addr, size_t bytes)
{
	bool taken, again;

	if (map(addr, bytes, MAP_FIXED) == addr)
		return true;
	again = hk_os_map_at(addr, bytes, &taken) == addr;
	hk_verify(again || taken);
	return again;
}

bool hk_os_purge(void *addr, size_t bytes)
{
	static _Atomic int known;
	int saved_errno = errno;
	enum purge_way way = (enum purge_way)atomic_load_explicit(&known, memory_order_relaxed);
	bool done = false;

	if (HK_UNLIKELY(way == PURGE_UNKNOWN)) {
		way = probe_purge();
		atomic_store_explicit(&known, way, memory_order_relaxed);
	}
	if (way == PURGE_ADVISE)
		done = advise(addr, bytes, MADV_DONTNEED, PURGE);
	else if (way == PURGE_REPLACE)
		done = replace(addr, bytes);
	if (done)
		count(PURGED_BYTES, bytes);
	errno = saved_errno;
	return done;
}

bool hk_os_purge_lazily(void *addr, size_t bytes)
{
	if (!advise(addr, bytes, MADV_FREE, PURGE))
		return hk_os_purge(addr, bytes); /* kernels before 4.5 */
	count(PURGED_BYTES, bytes);
	return true;
}

void hk_os_keep_small(void *addr, size_t bytes) { advise(addr, bytes, MADV_NOHUGEPAGE, OTHER); }

bool hk_os_populate(void *addr, size_t bytes)
{
	return advise(addr, bytes, MADV_POPULATE_WRITE, POPULATE);
}

/* Of this thread: it may have to wait for a processor, too. */
static uint64_t used_ns(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t hk_os_fault_huge(void *addr, size_t bytes, void *touch)
{
	uint64_t start;

	if (!advise(addr, bytes, MADV_HUGEPAGE, OTHER))
		return 0;
	start = used_ns();
	*(volatile char *)touch = 0;
	start = used_ns() - start;
	advise(addr, bytes, MADV_NOHUGEPAGE, OTHER);
	return start + 1;
}

/* Does a guarded page trap? qemu-user reports success and does nothing. The question is put to the
 * kernel, which answers where a load would fault. */
static bool probe_guard(void)
{
	size_t page = hk_os_page();
	void *p = hk_os_map(page);
	bool traps;

	if (!p)
		return false;
	traps = advise(p, page, MADV_GUARD_INSTALL, OTHER) && !hk_os_is_mapped(p, page);
	hk_os_unmap(p, page);
	return traps;
}

bool hk_os_has_guards(void)
{
	static _Atomic int state;

	return works(&state, probe_guard);
}

bool hk_os_guard(void *addr, size_t bytes)
{
	if (!hk_os_has_guards())
		return false;
	if (advise(addr, bytes, MADV_GUARD_INSTALL, OTHER))
		return true;
	hk_os_unguard(addr, bytes); /* it may have got a part of the way */
	return false;
}

bool hk_os_unguard(void *addr, size_t bytes)
{
	return advise(addr, bytes, MADV_GUARD_REMOVE, OTHER);
}

uint64_t hk_os_now_ns(void)
{
	int saved_errno = errno;
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	errno = saved_errno;
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t hk_os_seed(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	uint64_t word[2] = { (uintptr_t)&counts, 0 }; /* at least where the library was loaded */

	if (random)
		memcpy(word, random, sizeof(word));
	/* The C library makes its stack canary of these bytes: no word of them may show. */
	return (word[0] ^ (word[1] << 32 | word[1] >> 32)) * 0x9e3779b97f4a7c15u;
}

uint64_t hk_os_random(void)
{
	static _Atomic uint64_t calls;
	int saved_errno = errno;
	uint64_t word = 0;

	count(OTHER, 1);
	/* GRND_NONBLOCK: no waiting for the kernel's own seed early in its life */
	if (syscall(SYS_getrandom, &word, sizeof(word), 1) != (long)sizeof(word))
		word = (hk_os_seed() ^ hk_os_now_ns()) *
		       (2 * atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1);
	errno = saved_errno;
	return word;
}

bool hk_os_is_secure(void) { return getauxval(AT_SECURE) != 0; }

/* mincore takes PROT_NONE for mapped. sigprocmask copies the set before it looks at what to do with
 * it: EINVAL, and nothing done, when it could. */
static bool is_word_readable(uintptr_t at)
{
	count(OTHER, 1);
	return syscall(SYS_rt_sigprocmask, -1, (void *)hk_align_down(at, 8), NULL, (size_t)8) !=
		       0 &&
	       errno == EINVAL;
}

bool hk_os_is_mapped(const void *addr, size_t bytes)
{
	int saved_errno = errno;
	size_t page = hk_os_page();
	uintptr_t at = hk_align_down((uintptr_t)addr, page);
	uintptr_t end = (uintptr_t)addr + bytes;
	unsigned char resident[64];
	bool mapped = end >= at;

	while (mapped && at < end) {
		/* A byte for each 4 KiB, since qemu-user lets the host kernel fill it in. */
		size_t step = hk_min(hk_align_up(end - at, page), sizeof(resident) * 4 * HK_KiB);

		count(OTHER, 1);
		mapped = mincore((void *)at, step, resident) == 0;
		at += step;
	}
	mapped = mapped && is_word_readable((uintptr_t)addr) && is_word_readable(end - 1);
	errno = saved_errno;
	return mapped;
}

void hk_os_wait(_Atomic uint32_t *word, uint32_t expected)
{
	int saved_errno = errno;

	count(OTHER, 1);
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
	errno = saved_errno;
}

void hk_os_wake(_Atomic uint32_t *word, unsigned threads)
{
	int saved_errno = errno;

	count(OTHER, 1);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
	errno = saved_errno;
}

/* nanosleep(2) of the C library is a cancellation point. */
void hk_os_sleep_ms(unsigned ms)
{
	int saved_errno = errno;
	struct timespec left = { ms / 1000, ms % 1000 * 1000000l };

	do
		count(OTHER, 1);
	while (syscall(SYS_nanosleep, &left, &left) != 0 && errno == EINTR);
	errno = saved_errno;
}

void hk_os_yield(void)
{
	int saved_errno = errno;

	count(OTHER, 1);
	syscall(SYS_sched_yield);
	errno = saved_errno;
}

/* The C library's open, read and close are cancellation points. */
int hk_os_read(const char *path, char *buf, size_t size)
{
	int saved_errno = errno;
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), n = -1;

	count(OTHER, 1);
	if (fd >= 0) {
		do
			n = syscall(SYS_read, fd, buf, size - 1);
		while (n < 0 && errno == EINTR);
		syscall(SYS_close, fd);
		count(OTHER, 2);
	}
	buf[n > 0 ? n : 0] = '\0';
	errno = saved_errno;
	return (int)n;
}

int hk_os_create(const char *path)
{
	int saved_errno = errno;
	/* a link that somebody else has put there is not followed; those of the system are */
	bool is_system = strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | (is_system ? 0 : O_NOFOLLOW);
	int fd = open(path, flags, 0600);

	errno = saved_errno;
	return fd;
}

void hk_os_write(int fd, const char *text, size_t bytes)
{
	int saved_errno = errno;

	while (bytes != 0) {
		ssize_t done = write(fd, text, bytes);

		if (done < 0 && errno != EINTR)
			break;
		text += done > 0 ? done : 0;
		bytes -= done > 0 ? (size_t)done : 0;
	}
	errno = saved_errno;
}

void hk_os_close(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

int hk_os_pid(void) { return getpid(); }
