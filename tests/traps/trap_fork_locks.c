/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fork and the locks of others. In a process of one thread, a signal handler that interrupts malloc
 * may fork, and its child return from it: glibc makes sure of that. With threads, fork also takes
 * stdio's lock of all streams, which a thread may hold that waits for one that waits for malloc. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

/* ---- one thread ------------------------------------------------------------------------------- */

#define SLOTS 120u

static struct {
	void *p;
	size_t n;
} slot[SLOTS];
static volatile sig_atomic_t forked, in_child, bad_status;

static void on_alarm(int sig)
{
	pid_t pid = fork();
	int status = 0;

	(void)sig;
	if (pid == 0) {
		in_child = 1;
		if (forked % 2 == 0)
			_exit(0);
		return; /* into the middle of a malloc */
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		bad_status = status != 0 ? status : -1;
	forked = forked + 1;
}

/* Replaces some blocks by others, of all kinds. */
static void churn(uint64_t *seed)
{
	size_t i = t_below(seed, SLOTS), r = t_below(seed, 100);

	t_check_at(slot[i].p == NULL || t_holds(slot[i].p, slot[i].n, slot[i].n, i), slot[i].n);
	T_FREE(slot[i].p);
	slot[i].n = t_below(seed, r < 60 ? 300 : r < 85 ? 30000 : r < 99 ? 300000 : 48 * T_MiB);
	slot[i].p = T_MALLOC(slot[i].n);
	t_need(slot[i].p != NULL);
	t_fill(slot[i].p, slot[i].n, i);
	if (r == 50)
		T_TRIM();
}

/* Once: where others want the processors, a fork takes longer than any period. */
static void set_timer(suseconds_t us)
{
	struct itimerval timer = { { 0, 0 }, { 0, us } };

	t_need(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void alone_in_a_handler(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	uint64_t seed = 3;
	unsigned rounds = 0;
	uint64_t end = t_now_ms() + 4000; /* enough, if others want the processors, too */

	t_need(sigaction(SIGALRM, &action, NULL) == 0);
	while (forked < 250 && !in_child && t_now_ms() < end) {
		set_timer(1 + (suseconds_t)t_below(&seed, 60));
		churn(&seed);
	}
	if (!in_child)
		set_timer(0); /* or in the child of the last moment */
	if (in_child) {
		while (rounds++ < 60)
			churn(&seed);
		_exit(t_failures() == 0 ? 0 : 1);
	}
	t_equal(bad_status, 0);
	t_check(forked > 2);
	signal(SIGALRM, SIG_DFL);
}

/* ---- streams ---------------------------------------------------------------------------------- */

static _Atomic bool stop;
static FILE *lines[4]; /* each of one long line */

/* The line is read into a buffer that grows, with the stream's lock. */
static void *read_lines(void *arg)
{
	while (!atomic_load(&stop)) {
		char *line = NULL;
		size_t room = 0;

		rewind(arg);
		t_check(getline(&line, &room, arg) == 300000);
		free(line);
		usleep(200);
	}
	return NULL;
}

static void *flush_all(void *arg)
{
	while (!atomic_load(&stop)) {
		t_check(fflush(NULL) == 0);
		usleep(200); /* or fork would hardly ever get the lock, as in glibc */
	}
	return arg;
}

static void fork_once(void)
{
	int status = 0;
	pid_t pid = fork();

	t_need(pid >= 0);
	if (pid == 0) { /* the list of streams and malloc are free for use */
		FILE *null = fopen("/dev/null", "w");

		_exit(null != NULL && fprintf(null, "%9000d", 1) == 9000 && fclose(null) == 0 ? 17
											      : 1);
	}
	t_need(waitpid(pid, &status, 0) == pid);
	t_check(WIFEXITED(status) && WEXITSTATUS(status) == 17);
}

/* For two seconds: how often depends on whom the processors are given to. */
static void *fork_often(void *arg)
{
	uint64_t end = t_now_ms() + 2000;

	for (unsigned i = 0; i < 5 || (i < 300 && t_now_ms() < end); i++)
		fork_once();
	return arg;
}

static void streams_are_flushed(void)
{
	pthread_t reader[T_COUNT(lines)], flusher, forker[2];

	for (unsigned i = 0; i < T_COUNT(lines); i++) {
		lines[i] = tmpfile();
		t_need(lines[i] != NULL && fprintf(lines[i], "%299999d\n", 1) == 300000);
		reader[i] = t_thread(read_lines, lines[i]);
	}
	flusher = t_thread(flush_all, NULL);
	for (unsigned i = 0; i < T_COUNT(forker); i++)
		forker[i] = t_thread(fork_often, NULL);
	for (unsigned i = 0; i < T_COUNT(forker); i++)
		t_join(forker[i]);
	atomic_store(&stop, true);
	t_join(flusher);
	for (unsigned i = 0; i < T_COUNT(lines); i++) {
		t_join(reader[i]);
		fclose(lines[i]);
	}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(alone_in_a_handler), /* first: while there is one thread */
		T_CASE(streams_are_flushed),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
