/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_TESTS_FORK_LOAD_H
#define HAKMEM_TESTS_FORK_LOAD_H
/* What the tests of fork share: busy threads that free each other's blocks, children that work with
 * what the parent had, and chains of children. Before it is included:
 *
 *   FORK_BUSY      busy threads
 *   FORK_OWNED     blocks of the forking thread, which the child checks and frees
 *   FORK_CHURN     allocations of a child
 *   FORK_NAP_US    a breath of busy threads, so that two processors are enough for all
 *   FORK_HUGE      1: one block in a thousand is huge, and busy threads create threads */
#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define FORK_SLOTS         300u
#define FORK_CHILD_SECONDS 60u /* a child that hangs is ended by SIGALRM */

static _Atomic(void *) fork_slot[FORK_SLOTS];
static _Atomic bool fork_stop;
static pthread_t fork_busy_thread[FORK_BUSY];

static inline size_t fork_some_size(uint64_t *seed)
{
	size_t r = t_below(seed, 1000);

	if (FORK_HUGE && r == 0)
		return 40 * T_MiB + t_below(seed, 4 * T_MiB);
	return 8 + t_below(seed, r < 700 ? 300 : r < 900 ? 5000 : r < 980 ? 100000 : 2 * T_MiB);
}

/* Allocates, and frees what other threads have allocated. */
static inline void fork_churn(uint64_t *seed, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		size_t n = fork_some_size(seed);
		uint64_t *p = T_MALLOC(n);

		t_need(p != NULL);
		*p = n;
		p = atomic_exchange(&fork_slot[t_below(seed, FORK_SLOTS)], p);
		t_need(p == NULL || T_USABLE(p) >= *p);
		T_FREE(p);
	}
}

static inline void *fork_short_life(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	fork_churn(&seed, 40);
	return NULL;
}

static inline void *fork_busy(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	while (!atomic_load_explicit(&fork_stop, memory_order_relaxed)) {
		fork_churn(&seed, 100);
		if (FORK_HUGE && t_below(&seed, 4) == 0)
			t_join(t_thread(fork_short_life, (void *)(uintptr_t)t_random(&seed)));
		usleep(FORK_NAP_US);
	}
	return NULL;
}

static inline void fork_start_busy(void)
{
	atomic_store(&fork_stop, false);
	for (unsigned i = 0; i < FORK_BUSY; i++)
		fork_busy_thread[i] = t_thread(fork_busy, (void *)(uintptr_t)(i + 1));
}

static inline void fork_empty_slots(void)
{
	for (unsigned i = 0; i < FORK_SLOTS; i++)
		T_FREE(atomic_exchange(&fork_slot[i], NULL));
}

static inline void fork_stop_busy(void)
{
	atomic_store(&fork_stop, true);
	for (unsigned i = 0; i < FORK_BUSY; i++)
		t_join(fork_busy_thread[i]);
	fork_empty_slots();
}

static inline void fork_wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		t_need(errno == EINTR);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		t_say("child ended with wait status 0x%x", (unsigned)status);
		t_fatal(__FILE__, __LINE__, "a forked child works");
	}
}

/* In the child: frees what the parent has allocated, allocates, forks again, then looks around. */
__attribute__((noreturn)) static inline void fork_child(unsigned number, void **own,
							void (*look)(unsigned number))
{
	uint64_t seed = number;

	alarm(FORK_CHILD_SECONDS);
	for (size_t i = 0; i < FORK_OWNED; i++) {
		t_need(t_holds(own[i], 16 + i * 37, 16 + i * 37, i));
		if (i % 3 == 0)
			own[i] = T_REALLOC(own[i], 5000);
		T_FREE(own[i]);
	}
	fork_churn(&seed, FORK_CHURN);
	for (unsigned depth = 0; number % 20 == 0 && depth < 3; depth++) {
		pid_t pid = fork();

		t_need(pid >= 0);
		if (pid != 0) {
			fork_wait_for(pid);
			break;
		}
		alarm(FORK_CHILD_SECONDS);
		fork_churn(&seed, FORK_CHURN);
	}
	if (number % 20 == 1)
		t_join(t_thread(fork_short_life, (void *)77));
	look(number);
	_exit(t_failures() == 0 ? 0 : 1);
}

static inline void fork_often(unsigned forks, void (*look)(unsigned number))
{
	void *own[FORK_OWNED];
	uint64_t seed = 99;

	for (unsigned n = 0; n < forks; n++) {
		pid_t pid;

		for (size_t i = 0; i < FORK_OWNED; i++) {
			own[i] = T_MALLOC(16 + i * 37);
			t_need(own[i] != NULL);
			t_fill(own[i], 16 + i * 37, i);
		}
		pid = fork();
		t_need(pid >= 0);
		if (pid == 0)
			fork_child(n, own, look);
		fork_churn(&seed, 20); /* parent and child at the same time */
		for (size_t i = 0; i < FORK_OWNED; i++)
			T_FREE(own[i]);
		fork_wait_for(pid);
	}
}

/* A chain of children, each forked from the last with busy threads of its own; each looks around.
 * Returns in the first process only. */
static inline void fork_generations(unsigned last, unsigned busy_ms, void (*look)(unsigned depth))
{
	for (unsigned depth = 0; depth < last; depth++) {
		pid_t pid;

		fork_start_busy();
		t_sleep_ms(busy_ms);
		pid = fork();
		t_need(pid >= 0);
		if (pid != 0) {
			fork_stop_busy();
			fork_wait_for(pid);
			if (depth == 0)
				return;
			_exit(t_failures() != 0);
		}
		alarm(FORK_CHILD_SECONDS);
		fork_empty_slots();
		look(depth);
	}
	_exit(t_failures() != 0);
}

#endif
