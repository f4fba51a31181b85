/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Threads with the smallest stack that glibc has: every call of the family, its slow paths, another
 * thread's blocks, a refusal, the thread's end and the message before abort fit, with a page to spare.
 * Stacks are painted before, so the deepest use is seen; below each is a guard. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define PAINT 0xa5u
/* glibc's; with musl a stack may have 2 KiB, in which there is no room for a malloc */
#define LEAST (16 * T_KiB)

static const size_t sizes[] = { 0, 24, 1000, 5000, 60000, 300000, 3 * T_MiB, 40 * T_MiB };
static void *others[40];

static void nothing(void) {}

static void plain(void)
{
	for (size_t i = 0; i < T_COUNT(sizes); i++)
		for (unsigned j = 0; j < 200 && sizes[i] * j < 4 * T_MiB; j++)
			T_FREE(T_MALLOC(sizes[i]));
	T_FREE(NULL);
}

static void cleared(void)
{
	for (size_t i = 0; i < T_COUNT(sizes); i++)
		T_FREE(T_CALLOC(2, sizes[i]));
}

static void resized(void)
{
	char *p = NULL;

	for (size_t i = 0; i < T_COUNT(sizes); i++)
		p = T_REALLOC(p, sizes[i] + 1);
	for (size_t i = T_COUNT(sizes); i-- > 0;)
		p = T_REALLOCARRAY(p, 1, sizes[i] + 1);
	T_FREE(p);
}

static void aligned(void)
{
	for (size_t i = 1; i < T_COUNT(sizes); i++) {
		void *p = NULL;

		T_FREE(T_ALIGNED_ALLOC(64, sizes[i] + 8));
		T_FREE(T_MEMALIGN(T_MiB, sizes[i]));
		T_FREE(T_VALLOC(sizes[i]));
		T_FREE(T_PVALLOC(sizes[i]));
		t_check(T_POSIX_MEMALIGN(&p, 4096, sizes[i]) == 0 && T_USABLE(p) >= sizes[i]);
		T_FREE_ALIGNED_SIZED(p, 4096, sizes[i]);
		p = T_MALLOC(sizes[i]);
		T_FREE_SIZED(p, sizes[i]);
	}
}

/* A full bin, and more than it may hold; what others allocated; all given back. */
static void overflown(void)
{
	void *p[64];

	for (unsigned round = 0; round < 4; round++) {
		for (size_t i = 0; i < T_COUNT(p); i++)
			p[i] = T_MALLOC(100000);
		for (size_t i = 0; i < T_COUNT(p); i++)
			T_FREE(p[i]);
	}
	for (size_t i = 0; i < T_COUNT(others); i++)
		T_FREE(others[i]);
	T_TRIM();
}

static void refused(void)
{
	errno = 0;
	t_check(T_MALLOC(t_hide(PTRDIFF_MAX - 4096)) == NULL && errno == ENOMEM);
	t_check(T_CALLOC(t_hide(SIZE_MAX / 2), 4) == NULL);
	t_check(T_REALLOC(NULL, t_hide(PTRDIFF_MAX - 4096)) == NULL);
}

static void *call(void *fn)
{
	((void (*)(void))fn)();
	return NULL;
}

/* Bytes of the stack that were written to. */
static size_t run_on(char *stack, size_t bytes, void (*fn)(void))
{
	pthread_attr_t attr;
	pthread_t thread;
	size_t untouched = 0;

	memset(stack, PAINT, bytes);
	t_need(pthread_attr_init(&attr) == 0);
	t_need(pthread_attr_setstack(&attr, stack, bytes) == 0);
	t_need(pthread_create(&thread, &attr, call, (void *)fn) == 0);
	pthread_attr_destroy(&attr);
	t_join(thread);
	while (untouched < bytes && (unsigned char)stack[untouched] == PAINT)
		untouched++;
	return bytes - untouched;
}

static char *smallest_stack(size_t *bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	long least = sysconf(_SC_THREAD_STACK_MIN);
	char *p;

	*bytes = least > (long)LEAST ? (size_t)least : LEAST;
	*bytes = (*bytes + page - 1) / page * page;
	p = mmap(NULL, *bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t_need(p != MAP_FAILED && mprotect(p, page, PROT_NONE) == 0);
	return p + page;
}

static void smallest_stacks(void)
{
	static void (*const calls[])(
		void) = { plain, cleared, resized, aligned, overflown, refused };
	size_t bytes, idle, deepest = 0;
	char *stack = smallest_stack(&bytes);

	run_on(stack, bytes, nothing); /* what is done once for a process */
	idle = run_on(stack, bytes, nothing);
	for (size_t i = 0; i < T_COUNT(others); i++)
		others[i] = T_MALLOC(i % 2 ? 100 : T_MiB);
	for (size_t i = 0; i < T_COUNT(calls); i++) {
		size_t used = run_on(stack, bytes, calls[i]);

		t_check_at(used + 4096 <= bytes, i);
		deepest = used > deepest ? used : deepest;
	}
	t_say("stacks of %zu bytes: a thread that does nothing writes to %zu, one with hakmem to %zu",
	      bytes, idle, deepest);
}

static void mistake(void)
{
	T_FREE((char *)T_MALLOC(T_MiB) + 64);
	_exit(0);
}

static void last_words(void)
{
	struct rlimit no_core = { 0, 0 };
	size_t bytes;
	int status = 0;
	pid_t pid = fork();

	t_need(pid >= 0);
	if (pid == 0) {
		char *stack = smallest_stack(&bytes);

		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &no_core);
		run_on(stack, bytes, mistake);
		_exit(1);
	}
	t_need(waitpid(pid, &status, 0) == pid);
	t_check_at(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, (uint64_t)status);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(smallest_stacks), T_CASE(last_words) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
