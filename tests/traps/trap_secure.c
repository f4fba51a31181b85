/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A setuid program, run by nobody: no HAKMEM_ variable has an effect, nor a word on stderr; each option of
 * the table is tried. The same program without the bit obeys them all. A copy of itself, linked with the library; needs root. */
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

/* A value for every option that is not the default one, from the table itself. */
enum kind { BOOL, NUM, BYTES, ENUM, TEXT };
static const struct {
	const char *name, *usual;
	enum kind kind;
	long most;
} options[] = {
#define HK_OPTION(name, kind, min, max, speed, balanced, lean, hardened, sentence)                 \
	{ #name, #balanced, kind, max },
#define HK_OPTION_WORDS(...)
#define HK_OPTION_LEGACY(name)
#include "base/options.def"
#undef HK_OPTION
#undef HK_OPTION_WORDS
#undef HK_OPTION_LEGACY
};

static const char *word_for(const char *name)
{
	static const char *const words[][2] = { { "PROFILE", "lean" },
						{ "SS_MEM_LEAN_DECOMMIT", "OFF" },
						{ "SS_PREFAULT", "TOUCH" },
						{ "STATS", stats },
						{ "STATS_SIGNAL", "USR1" } };

	for (unsigned i = 0; i < T_COUNT(words); i++)
		if (strcmp(words[i][0], name) == 0)
			return words[i][1];
	t_need(!"every option of words has one here");
	return NULL;
}

static void every_option(char text[][100], char *envp[])
{
	unsigned n = 0;

	for (; n < T_COUNT(options); n++) {
		const char *name = options[n].name;

		if (options[n].kind == ENUM || options[n].kind == TEXT)
			snprintf(text[n], sizeof(text[n]), "HAKMEM_%s=%s", name, word_for(name));
		else if (options[n].kind == BOOL)
			snprintf(text[n], sizeof(text[n]), "HAKMEM_%s=%d", name,
				 strcmp(options[n].usual, "0") == 0);
		else
			snprintf(text[n], sizeof(text[n]), "HAKMEM_%s=%ld", name, options[n].most);
		envp[n] = text[n];
	}
	envp[n++] = (char *)(uintptr_t) "HAKMEM_NONSENSE=1";
	envp[n] = NULL;
}

static void count_obeyed(const char *name, const char *value, const char *source,
			 const char *sentence, void *arg)
{
	(void)name, (void)value, (void)sentence;
	*(unsigned *)arg += strcmp(source, "environment") == 0;
}

/* In the copy: which profile is in force, and how many options come from the environment? */
static int answer(void)
{
	unsigned obeyed = 0;
	char profile[40];

	t_need(hak_option_get("PROFILE", profile, sizeof(profile)) > 0);
	hak_option_each(count_obeyed, &obeyed);
	T_FREE(T_MALLOC(100));
	printf("secure %lu profile %s options %u\n", getauxval(AT_SECURE), profile, obeyed);
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
	static char variable[T_COUNT(options)][100];
	static char *envp[T_COUNT(options) + 2];
	char *argv[] = { copy, (char *)(uintptr_t) "answer", NULL };
	int out[2], status = 0;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	every_option(variable, envp);
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
	char text[20000];

	make_copy(04755);
	run_copy(text, sizeof(text));
	if (strncmp(text, "secure 0", 8) == 0)
		t_skip("setuid has no effect here");
	t_check(strcmp(text, "secure 1 profile balanced options 0\n") == 0);
	t_check(access(stats, F_OK) != 0);
}

/* The environment is one that has an effect. */
static void else_obeys_it(void)
{
	char text[20000], all[60];

	make_copy(0755);
	run_copy(text, sizeof(text));
	snprintf(all, sizeof(all), "secure 0 profile lean options %zu\n", T_COUNT(options));
	t_check(strstr(text, all) != NULL);
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
