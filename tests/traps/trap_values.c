/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What the calls of the family answer, where other allocators fall short: size 0 in every aligned
 * call, C23's aligned_alloc, usable sizes through a block's life, errno where the system refuses what
 * free asks of it. The rest of errno and of sizes: api_basic, api_sizes, api_aligned, api_pairs. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "door.h"

#define MARK 77 /* an errno that nobody sets */

/* ---- size 0 ----------------------------------------------------------------------------------- */

static void *zero_bytes(unsigned how, size_t alignment)
{
	void *p = NULL;

	switch (how % 5) {
	case 0:
		return T_MEMALIGN(alignment, 0);
	case 1:
		return T_ALIGNED_ALLOC(alignment, 0);
	case 2:
		t_equal(T_POSIX_MEMALIGN(&p, alignment, 0), 0);
		return t_launder(p);
	case 3:
		return T_LOOKED_UP(void *(*)(size_t, size_t), "_ZnwmSt11align_val_t")(0, alignment);
	default:
		return T_LOOKED_UP(void *(*)(size_t, size_t, const void *),
				   "_ZnamSt11align_val_tRKSt9nothrow_t")(0, alignment, &p);
	}
}

/* All alive at once: whoever shares a block with another finds its pattern gone. */
static void nothing_is_aligned_and_unique(void)
{
	enum { EACH = 60, ALIGNMENTS = 14, N = EACH * ALIGNMENTS };
	static void *p[N];

	for (unsigned i = 0; i < N; i++) {
		size_t alignment = (size_t)8 << (i % ALIGNMENTS);

		p[i] = zero_bytes(i / ALIGNMENTS, alignment);
		t_need(p[i] != NULL);
		t_check_at(t_aligned(p[i], alignment) && t_aligned(p[i], 16), alignment);
		t_check_at(T_USABLE(p[i]) >= 16, alignment); /* so that no two are at one place */
		t_fill(p[i], T_USABLE(p[i]), i);
	}
	for (unsigned i = 0; i < N; i++)
		t_check_at(t_holds(p[i], T_USABLE(p[i]), T_USABLE(p[i]), i), i);
	for (unsigned i = 0; i < N; i++)
		T_FREE_ALIGNED_SIZED(p[i], (size_t)8 << (i % ALIGNMENTS), 0);
	p[0] = T_PVALLOC(0);
	t_check(p[0] != NULL &&
		T_USABLE(p[0]) >= (size_t)sysconf(_SC_PAGESIZE)); /* a page, as glibc */
	T_FREE(p[0]);
}

/* ---- C23 and POSIX ---------------------------------------------------------------------------- */

/* C23: the size need not be a multiple; what is no alignment is an error, whatever the size. */
static void aligned_alloc_of_c23(void)
{
	static const size_t bad[] = { 0, 3, 6, 24, 48, 4097, SIZE_MAX, SIZE_MAX - 15 };
	static const size_t sizes[] = { 0, 1, 100, 4096, T_GiB, PTRDIFF_MAX, SIZE_MAX };

	for (unsigned i = 0; i < T_COUNT(bad); i++)
		for (unsigned j = 0; j < T_COUNT(sizes); j++) {
			errno = MARK;
			t_check_at(T_ALIGNED_ALLOC(t_hide(bad[i]), t_hide(sizes[j])) == NULL,
				   bad[i]);
			t_equal(errno, EINVAL);
		}
	for (size_t alignment = 1; alignment <= T_MiB; alignment *= 2)
		for (size_t n = alignment - 1; n <= alignment + 1; n++) {
			void *p = T_ALIGNED_ALLOC(alignment, n);

			t_check_at(p != NULL && t_aligned(p, alignment), alignment);
			T_FREE_ALIGNED_SIZED(p, alignment, n);
		}
}

/* A bad alignment comes before want of memory, and neither touches *out or errno. */
static void posix_memalign_answers_only(void)
{
	static const size_t bad[] = { 0, 1, 2, 4, 7, 12, 24, 4097, SIZE_MAX };
	void *mark = &mark, *p = mark;

	errno = MARK;
	for (unsigned i = 0; i < T_COUNT(bad); i++) {
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(bad[i]), t_hide(SIZE_MAX)), EINVAL);
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(bad[i]), 0), EINVAL);
	}
	for (size_t alignment = 8; alignment != 0; alignment *= 2) {
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(alignment), t_hide(SIZE_MAX)), ENOMEM);
		t_equal(T_POSIX_MEMALIGN(&p, t_hide(alignment), t_hide(-alignment)), ENOMEM);
	}
	t_check(p == mark);
	t_equal(errno, MARK);
}

/* ---- usable size ------------------------------------------------------------------------------ */

static _Atomic bool done;

static void *churn(void *arg)
{
	enum { N = 300 };
	static _Thread_local void *p[N];
	uint64_t seed = (uintptr_t)arg;

	for (unsigned i = 0; !atomic_load(&done); i = (i + 1) % N) {
		T_FREE(p[i]);
		p[i] = T_MALLOC(t_below(&seed, (size_t)2 << t_below(&seed, 20)));
		if (i == 0)
			T_TRIM();
	}
	for (unsigned i = 0; i < N; i++)
		T_FREE(p[i]);
	return NULL;
}

/* While other threads allocate, free and trim, and while its owner grows it to what it has. */
static void usable_size_is_stable(void)
{
	enum { N = 120 };
	static struct {
		unsigned char *p;
		size_t usable;
	} b[N];
	pthread_t other[2];
	size_t n = 1;

	atomic_store(&done, false);
	for (uintptr_t i = 0; i < T_COUNT(other); i++)
		other[i] = t_thread(churn, (void *)(i + 1));
	for (unsigned i = 0; i < N; i++, n += n / 6 + 1) {
		size_t alignment = (size_t)16 << (i % 9);

		b[i].p = i % 3 == 0 ? T_ALIGNED_ALLOC(alignment, n) : T_MALLOC(n);
		t_need(b[i].p != NULL);
		b[i].usable = T_USABLE(b[i].p);
		t_check_at(b[i].usable >= n, n);
		t_fill(b[i].p, b[i].usable, i);
		if (n > 3 * T_MiB)
			n = 1;
	}
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < N; i++) {
			t_check_at(T_USABLE(b[i].p) == b[i].usable, b[i].usable);
			t_check_at(t_holds(b[i].p, b[i].usable, b[i].usable, i), b[i].usable);
			if (round == 20) /* what is usable need not be asked for, but may be */
				t_check_at(T_REALLOC(b[i].p, b[i].usable) == b[i].p, b[i].usable);
		}
		t_sleep_ms(2);
	}
	atomic_store(&done, true);
	for (unsigned i = 0; i < T_COUNT(other); i++)
		t_join(other[i]);
	for (unsigned i = 0; i < N; i++)
		T_FREE_SIZED(b[i].p, b[i].usable);
}

/* ---- errno ------------------------------------------------------------------------------------ */

/* So many mappings that the kernel allows no more: a munmap that would leave a hole is refused. */
static void map_all(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	t_need(fd >= 0);
	for (unsigned i = 0; i < 300000; i++)
		if (mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			break;
	close(fd);
}

/* The last case: its mappings stay. */
static void free_keeps_errno_without_mappings(void)
{
	enum { N = 30 };
	static void *p[N];
	size_t before;

	T_TRIM();
	before = t_live();
	for (unsigned i = 0; i < N; i++) {
		p[i] = T_MALLOC(i % 2 == 0 ? 48 * T_MiB : 5 * T_MiB);
		t_need(p[i] != NULL);
		*(char *)p[i] = 1;
	}
	map_all();
	errno = MARK;
	for (unsigned i = 0; i < N; i++) /* from the middle: 0, 7, 14 … */
		T_FREE(p[i * 7 % N]);
	t_equal(errno, MARK);
	T_TRIM();
	t_equal(errno, MARK);
	t_check(t_live() <= before);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(nothing_is_aligned_and_unique),     T_CASE(aligned_alloc_of_c23),
		T_CASE(posix_memalign_answers_only),       T_CASE(usable_size_is_stable),
		T_CASE(free_keeps_errno_without_mappings),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
