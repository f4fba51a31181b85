/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fork, vfork and posix_spawn from a process whose other threads are in the middle of malloc. */
#include <spawn.h>
#include <string.h>

#define FORK_BUSY   3u
#define FORK_OWNED  100u
#define FORK_CHURN  200u
#define FORK_NAP_US 20u
#define FORK_HUGE   0
#include "fork_load.h"

extern char **environ;

static void look_around(unsigned number)
{
	if (number % 20 == 2)
		T_TRIM();
	fork_empty_slots();
}

static void fork_while_others_are_busy(void)
{
	fork_start_busy();
	fork_often((unsigned)t_scale(500, 100), look_around); /* more: trap_fork */
	fork_stop_busy();
}

static void *fork_here(void *arg)
{
	fork_often((unsigned)t_scale(100, 10), look_around);
	return arg;
}

static void fork_from_a_thread(void)
{
	fork_start_busy();
	t_join(t_thread(fork_here, NULL));
	fork_stop_busy();
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
		alarm(FORK_CHILD_SECONDS);
		T_FREE(T_MALLOC(100));
		exit(0); /* handlers, destructors, stdio */
	}
	fork_wait_for(pid);
	return 0;
}

static void child_exits_in_full(void)
{
	fork_start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++)
		t_equal(exit_code_of_child(), 0);
	fork_stop_busy();
}

static char *const true_argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

static void vfork_and_exec(void)
{
	fork_start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++) {
		pid_t pid = vfork();

		t_need(pid >= 0);
		if (pid == 0) {
			execve(true_argv[0], true_argv, environ);
			_exit(127);
		}
		fork_wait_for(pid);
	}
	fork_stop_busy();
}

static void spawn(void)
{
	fork_start_busy();
	for (unsigned i = 0; i < t_scale(200, 20); i++) {
		pid_t pid;

		t_need(posix_spawn(&pid, true_argv[0], NULL, NULL, true_argv, environ) == 0);
		fork_wait_for(pid);
	}
	fork_stop_busy(); /* nobody's memory was hurt by children in the same address space */
}

static void look_at_committed(unsigned depth)
{
	static size_t first;
	struct hak_stats s;

	T_TRIM();
	T_STATS_GET(&s);
	if (depth == 4)
		first = s.committed;
	if (depth > 4)
		t_need(s.committed <= first + depth * T_MiB);
}

/* What a child cannot reach any more is bounded: a chain of children does not grow. trap_fork counts
 * it. */
static void generations(void) { fork_generations((unsigned)t_scale(60, 10), 2, look_at_committed); }

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
