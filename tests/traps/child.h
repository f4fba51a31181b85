/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_CHILD_H
#define HK_TESTS_CHILD_H
/* Something that a process can do only once, or may not survive. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* fn(arg) in a child: how that ended, as wait says it. A check that fails there is exit status 1. */
static inline int run_child(void (*fn)(void *), void *arg)
{
	struct rlimit no_core = { 0, 0 };
	unsigned before = t_failures();
	int status = 0;
	pid_t pid = fork();

	t_need(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL); /* the harness has a word to say, too */
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(100);
		fn(arg);
		_exit(t_failures() != before);
	}
	t_need(waitpid(pid, &status, 0) == pid);
	return status;
}

#endif
