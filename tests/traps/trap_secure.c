/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A setuid program, run by nobody: no HAKMEM_ variable has an effect, nor a word on stderr. The same
 * program without the bit obeys them. A copy of itself, linked with the library; needs root. */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define NOBODY 65534

static char folder[] = "/tmp/trap_secure.XXXXXX";
static char copy[64], stats[64];

/* In the copy: which profile is in force? */
static int answer(void)
{
	char profile[40];

	t_need(hak_option_get("PROFILE", profile, sizeof(profile)) > 0);
	T_FREE(T_MALLOC(100));
	printf("secure %lu profile %s\n", getauxval(AT_SECURE), profile);
	return 0;
}

static void make_copy(mode_t mode)
{
	int from = open("/proc/self/exe", O_RDONLY), to;
	struct stat st;

	unlink(copy);
	to = open(copy, O_WRONLY | O_CREAT | O_EXCL, 0700);
	t_need(from >= 0 && to >= 0 && fstat(from, &st) == 0);
	for (off_t at = 0; at < st.st_size;)
		t_need(sendfile(to, from, &at, (size_t)(st.st_size - at)) > 0);
	close(from);
	t_need(fchmod(to, mode) == 0);
	close(to);
}

static void run_copy(char *text, size_t size)
{
	char where[100];
	char *argv[] = { copy, (char *)(uintptr_t) "answer", NULL };
	char *envp[] = { (char *)(uintptr_t) "HAKMEM_PROFILE=lean",
			 (char *)(uintptr_t) "HAKMEM_NONSENSE=1", where, NULL };
	int out[2], status = 0;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	snprintf(where, sizeof(where), "HAKMEM_STATS=%s", stats);
	unlink(stats);
	t_need(pipe(out) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		if (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
		    setresuid(NOBODY, NOBODY, NOBODY) == 0)
			execve(copy, argv, envp);
		_exit(9);
	}
	close(out[1]);
	while (used < size - 1 && (n = read(out[0], text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(out[0]);
	t_need(waitpid(pid, &status, 0) == pid && status == 0);
}

static void ignores_the_environment(void)
{
	char text[1000];

	make_copy(04755);
	run_copy(text, sizeof(text));
	if (strncmp(text, "secure 0", 8) == 0)
		t_skip("setuid has no effect here");
	t_check(strcmp(text, "secure 1 profile balanced\n") == 0);
	t_check(access(stats, F_OK) != 0);
}

/* The environment is one that has an effect. */
static void else_obeys_it(void)
{
	char text[1000];

	make_copy(0755);
	run_copy(text, sizeof(text));
	t_check(strstr(text, "secure 0 profile lean\n") != NULL);
	t_check(strstr(text, "hakmem: HAKMEM_NONSENSE is no variable of hakmem") != NULL);
	t_check(access(stats, F_OK) == 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(ignores_the_environment),
					       T_CASE(else_obeys_it) };
	struct statvfs fs;
	int result;

	if (argc == 2 && strcmp(argv[1], "answer") == 0)
		return answer();
	if (geteuid() != 0)
		t_skip("only root can make a setuid program of another user");
	t_need(mkdtemp(folder) != NULL && chmod(folder, 0777) == 0);
	t_need(statvfs(folder, &fs) == 0);
	if (fs.f_flag & ST_NOSUID)
		t_skip("/tmp is mounted nosuid");
	snprintf(copy, sizeof(copy), "%s/program", folder);
	snprintf(stats, sizeof(stats), "%s/stats", folder);
	result = t_main(argc, argv, cases, T_COUNT(cases));
	unlink(copy);
	unlink(stats);
	rmdir(folder);
	return result;
}
