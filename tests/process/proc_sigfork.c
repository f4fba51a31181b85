/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A signal interrupts malloc anywhere; the handler calls _Fork, and the child _exit or execve, which
 * are async-signal-safe. Nothing may hang, and errno stays what it was. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define MARK  77
#define SLOTS 200u

extern char **environ;
pid_t _Fork(void) __attribute__((weak));

static _Atomic(void *) slot[SLOTS];
static _Atomic unsigned forked;
static volatile sig_atomic_t bad_status;
static _Atomic bool stop;
static char *const true_argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

static void on_alarm(int sig)
{
	int saved = errno, status = 0;
	pid_t pid = _Fork();

	(void)sig;
	if (pid == 0) {
		if (atomic_load(&forked) % 8 == 0)
			execve(true_argv[0], true_argv, environ);
		_exit(0);
	}
	if (pid > 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			bad_status = status;
	}
	atomic_fetch_add(&forked, 1);
	errno = saved;
}

static void *churn(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		size_t r = t_below(&seed, 100);
		size_t n = t_below(&seed, r < 60   ? 300
					  : r < 85 ? 30000
					  : r < 97 ? 300000
						   : 8 * T_MiB);
		char *p;

		errno = MARK;
		p = r % 5 == 0 ? T_CALLOC(1, n) : T_MALLOC(n);
		t_need(p != NULL);
		if (n > 0)
			p[0] = p[n - 1] = 1;
		if (r % 7 == 0)
			p = T_REALLOC(p, n / 2 + 1);
		T_FREE(atomic_exchange(&slot[t_below(&seed, SLOTS)], p));
		t_need(errno == MARK);
	}
	return NULL;
}

static void forks_in_handlers(void)
{
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action;
	unsigned wanted = (unsigned)t_scale(600, 60);
	pthread_t thread[2];
	sigset_t alarms;

	if (_Fork == NULL)
		t_skip("no _Fork here");
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_alarm;
	action.sa_flags = SA_RESTART;
	t_need(sigaction(SIGALRM, &action, NULL) == 0);
	for (unsigned i = 0; i < 2; i++)
		thread[i] = t_thread(churn, (void *)(uintptr_t)(i + 1));
	/* For the threads that are in malloc, not for this one, which sleeps. */
	t_need(sigemptyset(&alarms) == 0 && sigaddset(&alarms, SIGALRM) == 0);
	t_need(pthread_sigmask(SIG_BLOCK, &alarms, NULL) == 0);
	t_need(setitimer(ITIMER_REAL, &every, NULL) == 0);
	while (atomic_load(&forked) < wanted)
		t_sleep_ms(5);
	t_need(setitimer(ITIMER_REAL, &never, NULL) == 0);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		t_join(thread[i]);
	t_equal(bad_status, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(atomic_exchange(&slot[i], NULL));
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(forks_in_handlers) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
