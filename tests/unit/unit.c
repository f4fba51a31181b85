/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) != pid)
		t_need(errno == EINTR);
	return status;
}

static bool wanted(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc < 2;
}

int u_main(int argc, char **argv, const struct t_case *cases, size_t count)
{
	int failed = 0;
	size_t ran = 0;

	for (size_t i = 0; i < count; i++) {
		pid_t pid;
		int status;

		if (!wanted(argc, argv, cases[i].name))
			continue;
		ran++;
		pid = fork();
		t_need(pid >= 0);
		if (pid == 0)
			exit(t_main(1, argv, &cases[i], 1));
		status = wait_for(pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		t_say("FAILED %s (wait status 0x%x)", cases[i].name, (unsigned)status);
		failed = 1;
	}
	return ran == 0 ? 2 : failed;
}

void u_child(void (*fn)(void *), void *arg, struct u_end *end)
{
	size_t length = 0;
	ssize_t got;
	int out[2];
	pid_t pid;

	t_need(pipe(out) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		fn(arg);
		_exit(t_failures() != 0);
	}
	close(out[1]);
	while ((got = read(out[0], end->text + length, sizeof(end->text) - 1 - length)) > 0)
		length += (size_t)got;
	end->text[length] = '\0';
	close(out[0]);
	end->status = wait_for(pid);
}

bool u_dies(void (*fn)(void *), void *arg, const char *text)
{
	static struct u_end end;
	const char *line;

	u_child(fn, arg, &end);
	line = strchr(end.text, '\n');
	if (WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT &&
	    strncmp(end.text, "hakmem: ", 8) == 0 && strstr(end.text, text) != NULL &&
	    line != NULL && line[1] == '\0')
		return true;
	t_say("wait status 0x%x, \"%s\", and not \"%s\"", (unsigned)end.status, end.text, text);
	return false;
}

bool u_lives(void (*fn)(void *), void *arg)
{
	static struct u_end end;

	u_child(fn, arg, &end);
	if (WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0 && end.text[0] == '\0')
		return true;
	t_say("wait status 0x%x, \"%s\"", (unsigned)end.status, end.text);
	return false;
}
