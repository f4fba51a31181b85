/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Containers, with the real calls: the process sees files of the test's making in place of the control
 * group's, in a mount namespace of its own, which takes root. And the calls that it costs: with a filter
 * that kills for them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define ROOT    "/sys/fs/cgroup"
#define PIECES  200u
#define SKIPPED 99

static void *piece[PIECES];
static unsigned pieces;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	t_need(fd >= 0);
	t_need(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	t_need(close(fd) == 0);
}

/* A MiB more is out, and one goes, which is when hakmem looks at the clock. */
static void grow(unsigned mib)
{
	for (; mib > 0; mib--) {
		piece[pieces] = T_MALLOC(T_MiB);
		t_need(piece[pieces++] != NULL);
		T_FREE(T_MALLOC(6 * T_MiB));
	}
}

/* To 100 MiB; the last of it when it is time to look again. */
static void grow_large(void)
{
	grow(90);
	t_sleep_ms(1100);
	grow(10);
}

static uint32_t squeezed(void)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	return s.squeezed;
}

static size_t bound_option(void)
{
	char text[32];

	t_need(hak_option_get("BOUND", text, sizeof(text)) > 0);
	return strtoul(text, NULL, 10);
}

/* ---- Files ---- */

/* The process's own view from here on; false: not allowed. */
static bool own_files(void)
{
	if (unshare(CLONE_NEWNS) != 0)
		return false;
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", ROOT, "tmpfs", 0, NULL) == 0;
}

static bool replace(const char *path, const char *text)
{
	static const char copy[] = ROOT "/copy";

	write_file(copy, text);
	return mount(copy, path, NULL, MS_BIND, NULL) == 0;
}

struct files {
	const char *list, *folder, *limit, *used;
};

static void use(const struct files *f, const char *bytes)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", f->folder, f->used);
	write_file(path, bytes);
}

static void near_and_far(const void *arg)
{
	const struct files *f = arg;
	char path[200];

	if (!own_files() || !replace("/proc/self/cgroup", f->list))
		_exit(SKIPPED);
	t_need(mkdir(ROOT "/memory", 0755) == 0 && mkdir(ROOT "/app", 0755) == 0);
	t_need(mkdir(ROOT "/memory/app", 0755) == 0);
	snprintf(path, sizeof(path), "%s/%s", f->folder, f->limit);
	write_file(path, "1000000000\n");
	use(f, "500000000\n");
	grow_large();
	t_equal(squeezed(), 0);
	use(f, "900000000\n");
	t_sleep_ms(2100);
	grow(5);
	t_equal(squeezed(), 1);
	t_equal(bound_option(), 2 * T_MiB);
	use(f, "500000000\n");
	t_sleep_ms(2100);
	grow(5);
	t_equal(squeezed(), 0);
	t_equal(bound_option(), 6 * T_MiB);
}

static void under_pressure(const void *arg)
{
	(void)arg;
	if (!own_files() ||
	    !replace("/proc/pressure/memory", "some avg10=25.00 avg60=1.00 avg300=1.00 total=9\n"))
		_exit(SKIPPED);
	grow_large();
	t_equal(squeezed(), 2);
	t_equal(bound_option(), 2 * T_MiB);
}

/* ---- Calls ---- */

#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define IF_CALL(nr, action)                                                                        \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, (action))

/* Opening files from now on: `action`. */
static void filter(uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		IF_CALL(SYS_openat, action),
#ifdef SYS_open
		IF_CALL(SYS_open, action),
#endif
		ALLOW,
	};
	struct sock_fprog program = { T_COUNT(code), code };

	t_need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
		_exit(SKIPPED);
}

static void read_by_all_who_grow(const void *arg)
{
	(void)arg;
	filter(SECCOMP_RET_KILL_PROCESS);
	grow_large();
}

static void not_by_small_ones(const void *arg)
{
	(void)arg;
	filter(SECCOMP_RET_KILL_PROCESS);
	grow(40);
	t_sleep_ms(1100);
	grow(10);
}

static void not_when_switched_off(const void *arg)
{
	(void)arg;
	t_need(hak_option_set("CONTAINER", "0") == 0);
	filter(SECCOMP_RET_KILL_PROCESS);
	grow_large();
}

static void refused(const void *arg)
{
	(void)arg;
	filter(SECCOMP_RET_ERRNO | EACCES);
	errno = 77;
	grow_large();
	t_equal(errno, 77);
	t_equal(squeezed(), 0);
}

/* No descriptor stays open. */
static void no_descriptor(const void *arg)
{
	int before = dup(2), after;

	(void)arg;
	t_need(before >= 0 && close(before) == 0);
	grow_large();
	after = dup(2);
	t_equal(after, before);
}

static pid_t start(void (*fn)(const void *), const void *arg)
{
	pid_t pid = fork();

	t_need(pid >= 0);
	if (pid == 0) {
		fn(arg);
		_exit(t_failures() != 0);
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	t_need(waitpid(pid, &status, 0) == pid);
	return status;
}

static void check_end(pid_t pid, const char *what)
{
	int status = end_of(pid);

	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		t_say("%s: not allowed here, left out", what);
	else
		t_equal(status, 0);
}

static void files_of_both_versions(void)
{
	static const struct files v1 = { "4:memory:/app\n0::/x\n", ROOT "/memory/app",
					 "memory.limit_in_bytes", "memory.usage_in_bytes" };
	static const struct files v2 = { "0::/app\n", ROOT "/app", "memory.max", "memory.current" };
	static const struct files hidden = { "4:memory:/not/here\n", ROOT "/memory",
					     "memory.limit_in_bytes", "memory.usage_in_bytes" };
	pid_t pid[] = { start(near_and_far, &v1), start(near_and_far, &v2),
			start(near_and_far, &hidden), start(under_pressure, NULL) };

	for (unsigned i = 0; i < T_COUNT(pid); i++)
		check_end(pid[i], "files in place of the container's");
}

static void calls(void)
{
	pid_t killed = start(read_by_all_who_grow, NULL);
	pid_t pid[] = { start(not_by_small_ones, NULL), start(not_when_switched_off, NULL),
			start(refused, NULL), start(no_descriptor, NULL) };
	int status = end_of(killed);

	t_check((WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) ||
		(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED));
	for (unsigned i = 0; i < T_COUNT(pid); i++)
		check_end(pid[i], "a filter for calls");
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(files_of_both_versions), T_CASE(calls) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
