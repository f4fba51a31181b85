/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Descriptor 2 is not stderr in every program: closed from the start, or closed and given to a file of
 * the program's own. Warnings and dumps come on stderr, and never into such a file; the last message
 * before abort goes to 2 whatever it is. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define OWN "only this\n"

static const char *self;
static char path[] = "/tmp/trap_stderr.XXXXXX";

/* A process with 2 as it is, an environment that hakmem has something to say to, and at exit a dump. */
static int run(void (*before)(void), const char *what)
{
	char library[4096];
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t) "do", (char *)(uintptr_t)what,
			 path, NULL };
	char *envp[] = { library, (char *)(uintptr_t) "HAKMEM_STATS=1",
			 (char *)(uintptr_t) "HAKMEM_PROFILE=nonsense", NULL };
	struct rlimit no_core = { 0, 0 };
	int status = 0;
	pid_t pid;

	snprintf(library, sizeof(library), "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
	t_need(truncate(path, 0) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		before();
		execve(self, argv, envp);
		_exit(9);
	}
	t_need(waitpid(pid, &status, 0) == pid);
	return status;
}

static void reopen(int flags)
{
	close(2);
	if (open(path, flags, 0600) != 2)
		_exit(8);
}

/* What is done in there. */
static int act(const char *what)
{
	if (strcmp(what, "data") == 0)
		reopen(O_WRONLY);
	if (strcmp(what, "data, read") == 0)
		reopen(O_RDWR);
	if (strcmp(what, "log") == 0)
		reopen(O_WRONLY | O_APPEND);
	if (strcmp(what, "mistake") == 0) {
		reopen(O_WRONLY);
		free((char *)t_launder(malloc(T_MiB)) + 16);
	}
	if (strcmp(what, "nothing") != 0 && write(2, OWN, sizeof(OWN) - 1) < 0)
		return 7;
	return 0;
}

static const char *contents(void)
{
	static char text[8000];
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	t_need(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void is_closed(void) { close(2); }
static void is_null(void)
{
	close(2);
	open("/dev/null", O_WRONLY);
}
static void is_file(void) { reopen(O_WRONLY); }

static void stderr_is_a_file(void)
{
	t_equal(run(is_file, "nothing"), 0);
	t_check(strstr(contents(), "hakmem: HAKMEM_PROFILE=nonsense is ignored") == contents());
	t_check(strstr(contents(), "hakmem: live ") != NULL);
}

static void closed_from_the_start(void)
{
	t_equal(run(is_closed, "nothing"), 0);
	t_equal(run(is_closed, "data"), 0);
	t_check(strcmp(contents(), OWN) == 0);
}

static void given_to_data(void)
{
	t_equal(run(is_null, "data"), 0);
	t_check(strcmp(contents(), OWN) == 0);
	t_equal(run(is_null, "data, read"), 0);
	t_check(strcmp(contents(), OWN) == 0);
}

static void given_to_a_log(void)
{
	t_equal(run(is_null, "log"), 0);
	t_check(strstr(contents(), OWN) == contents());
	t_check(strstr(contents(), "hakmem: live ") != NULL);
}

static void last_message(void)
{
	int status = run(is_null, "mistake");

	t_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	t_check(strstr(contents(), "hakmem: free(): 0x") == contents());
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(stderr_is_a_file),
					       T_CASE(closed_from_the_start), T_CASE(given_to_data),
					       T_CASE(given_to_a_log), T_CASE(last_message) };
	int result;

	self = argv[0];
	if (argc == 4 && strcmp(argv[1], "do") == 0) {
		memcpy(path, argv[3], sizeof(path));
		return act(argv[2]);
	}
	t_need(mkstemp(path) >= 0);
	result = t_main(argc, argv, cases, T_COUNT(cases));
	unlink(path);
	return result;
}
