/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fork, vfork and posix_spawn from a process whose other threads are in the middle of malloc. */
#include <errno.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define BUSY          3u
#define SLOTS         300u
#define CHILD_SECONDS 60u /* a child that hangs is ended by SIGALRM */

extern char **environ;

static _Atomic(void *) slot[SLOTS];
static _Atomic bool stop;

static size_t some_size(uint64_t *seed)
{
	size_t r = t_below(seed, 100);

	return t_below(seed, r < 70 ? 300 : r < 90 ? 5000 : r < 98 ? 100000 : 2 * T_MiB);
}

/* Allocates, and frees what other threads have allocated. */
static void churn(uint64_t *seed, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		size_t n = some_size(seed) + 8;
		uint64_t *p = T_MALLOC(n);

		t_need(p != NULL);
		*p = n;
		p = atomic_exchange(&slot[t_below(seed, SLOTS)], p);
		t_need(p == NULL || T_USABLE(p) >= *p);
		T_FREE(p);
	}
}

static void *busy(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	/* A breath now and then, so that two processors are enough for parent, child and these. */
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		churn(&seed, 100);
		usleep(20);
	}
	return NULL;
}

static pthread_t busy_thread[BUSY];

static void start_busy(void)
{
	atomic_store(&stop, false);
	for (unsigned i = 0; i < BUSY; i++)
		busy_thread[i] = t_thread(busy, (void *)(uintptr_t)(i + 1));
}

static void stop_busy(void)
{
	atomic_store(&stop, true);
	for (unsigned i = 0; i < BUSY; i++)
		t_join(busy_thread[i]);
}

static void *in_child_thread(void *arg)
{
	uint64_t seed = 5;

	churn(&seed, 50);
	return arg;
}

static void wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		t_need(errno == EINTR);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		t_say("child ended with wait status 0x%x", (unsigned)status);
		t_fatal(__FILE__, __LINE__, "a forked child works");
	}
}

/* In the child: frees what main and the busy threads have allocated, allocates, forks again. */
__attribute__((noreturn)) static void child(unsigned number, void **own, size_t owned)
{
	uint64_t seed = number;

	alarm(CHILD_SECONDS);
	for (size_t i = 0; i < owned; i++) {
		t_need(t_holds(own[i], 16 + i * 37, 16 + i * 37, i));
		if (i % 3 == 0)
			own[i] = T_REALLOC(own[i], 5000);
		T_FREE(own[i]);
	}
	churn(&seed, 200);
	for (unsigned depth = 0; number % 20 == 0 && depth < 3; depth++) {
		pid_t pid = fork();

		t_need(pid >= 0);
		if (pid != 0) {
			wait_for(pid);
			break;
		}
		alarm(CHILD_SECONDS);
		churn(&seed, 200);
	}
	if (number % 20 == 1)
		t_join(t_thread(in_child_thread, NULL));
	if (number % 20 == 2)
		T_TRIM();
	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(atomic_exchange(&slot[i], NULL));
	_exit(t_failures() == 0 ? 0 : 1);
}

static void fork_often(unsigned forks)
{
	enum { OWNED = 100 };
	void *own[OWNED];
	uint64_t seed = 99;

	for (unsigned n = 0; n < forks; n++) {
		pid_t pid;

		for (size_t i = 0; i < OWNED; i++) {
			own[i] = T_MALLOC(16 + i * 37);
			t_need(own[i] != NULL);
			t_fill(own[i], 16 + i * 37, i);
		}
		pid = fork();
		t_need(pid >= 0);
		if (pid == 0)
			child(n, own, OWNED);
		churn(&seed, 20); /* parent and child at the same time */
		for (size_t i = 0; i < OWNED; i++)
			T_FREE(own[i]);
		wait_for(pid);
	}
}

static void fork_while_others_are_busy(void)
{
	start_busy();
	fork_often((unsigned)t_scale(500, 100)); /* more: trap_fork */
	stop_busy();
}

static void *fork_here(void *arg)
{
	fork_often((unsigned)t_scale(100, 10));
	return arg;
}

static void fork_from_a_thread(void)
{
	start_busy();
	t_join(t_thread(fork_here, NULL));
	stop_busy();
}

/* Two threads fork at the same time. */
static void fork_from_two_threads(void)
{
	pthread_t one = t_thread(fork_here, NULL), two = t_thread(fork_here, NULL);

	t_join(one);
	t_join(two);
}

static int exit_code_of_child(void)
{
	pid_t pid = fork();

	t_need(pid >= 0);
	if (pid == 0) {
		alarm(CHILD_SECONDS);
		T_FREE(T_MALLOC(100));
		exit(0); /* handlers, destructors, stdio */
	}
	wait_for(pid);
	return 0;
}

static void child_exits_in_full(void)
{
	start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++)
		t_equal(exit_code_of_child(), 0);
	stop_busy();
}

static char *const true_argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

static void vfork_and_exec(void)
{
	start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++) {
		pid_t pid = vfork();

		t_need(pid >= 0);
		if (pid == 0) {
			execve(true_argv[0], true_argv, environ);
			_exit(127);
		}
		wait_for(pid);
	}
	stop_busy();
}

static void spawn(void)
{
	start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++) {
		pid_t pid;

		t_need(posix_spawn(&pid, true_argv[0], NULL, NULL, true_argv, environ) == 0);
		wait_for(pid);
	}
	stop_busy();
	/* Nobody's memory was hurt by children in the same address space. */
	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(atomic_exchange(&slot[i], NULL));
}

/* What a child cannot reach any more (bins of threads that it does not have) is bounded: a chain of
 * children, each forked from the last, does not grow. */
static void generations(void)
{
	unsigned last = (unsigned)t_scale(60, 10);
	size_t first_committed = 0;

	for (unsigned depth = 0; depth < last; depth++) {
		struct hak_stats s;
		pid_t pid;

		start_busy();
		t_sleep_ms(2);
		pid = fork();
		t_need(pid >= 0);
		if (pid != 0) {
			stop_busy();
			wait_for(pid);
			if (depth == 0)
				return;
			_exit(t_failures() != 0);
		}
		alarm(CHILD_SECONDS);
		for (unsigned i = 0; i < SLOTS; i++)
			T_FREE(atomic_exchange(&slot[i], NULL));
		T_TRIM();
		T_STATS_GET(&s);
		if (depth == 4)
			first_committed = s.committed;
		if (depth > 4)
			t_need(s.committed <= first_committed + depth * T_MiB);
	}
	_exit(t_failures() != 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(fork_while_others_are_busy),
		T_CASE(fork_from_a_thread),
		T_CASE(fork_from_two_threads),
		T_CASE(child_exits_in_full),
		T_CASE(vfork_and_exec),
		T_CASE(spawn),
		T_CASE(generations), /* the last: it does not return */
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
