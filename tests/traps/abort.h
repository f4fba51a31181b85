/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_ABORT_H
#define HK_TESTS_ABORT_H
/* A mistake that hakmem must end the process for. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* fn(arg) in a child, which must die of SIGABRT with one line on stderr that begins with `text` and
 * names a caller. */
static inline void must_abort(void (*fn)(void *), void *arg, const char *text)
{
	struct rlimit no_core = { 0, 0 };
	char seen[600] = "";
	size_t used = 0;
	int out[2], status = 0;
	ssize_t n;
	pid_t child;

	t_need(pipe(out) == 0);
	child = fork();
	t_need(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL); /* the harness has a word to say, too */
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(out[1], 2);
		alarm(20);
		fn(arg);
		_exit(0);
	}
	close(out[1]);
	while (used < sizeof(seen) - 1 &&
	       (n = read(out[0], seen + used, sizeof(seen) - 1 - used)) > 0)
		used += (size_t)n;
	close(out[0]);
	t_need(waitpid(child, &status, 0) == child);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT ||
	    strncmp(seen, text, strlen(text)) != 0 || strstr(seen, " from ") == NULL ||
	    strstr(seen, "+0x") == NULL || strchr(seen, '\n') != seen + used - 1)
		t_say("wait status 0x%x, stderr '%s', wanted '%s…'", (unsigned)status, seen, text);
	t_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	t_check(strncmp(seen, text, strlen(text)) == 0);
	t_check(strstr(seen, " from ") != NULL && strstr(seen, "+0x") != NULL);
	t_check(used != 0 && strchr(seen, '\n') == seen + used - 1);
}

#endif
