/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* HAKMEM_BACKGROUND=1: a process that does nothing gives back what it holds; the thread sleeps when there
 * is nothing to do; and forks. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

/* Nearly nothing is live. */
static size_t held(void)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	return s.committed;
}

static void hold(size_t mib)
{
	static char *p[64];

	for (size_t i = 0; i < mib; i++) {
		p[i] = T_MALLOC(T_MiB);
		t_need(p[i] != NULL);
		memset(p[i], 1, T_MiB);
	}
	for (size_t i = 0; i < mib; i++)
		T_FREE(p[i]);
}

/* A field of a thread's status. */
static size_t field_of(const char *thread, const char *field)
{
	char path[300], line[200];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", thread);
	f = fopen(path, "r");
	t_need(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0)
			n = strtoul(line + strlen(field) + 1, NULL, 10);
	}
	fclose(f);
	return n;
}

/* The other thread's id, "" when there is none. */
static const char *other_thread(void)
{
	static char name[300];
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;

	t_need(d != NULL);
	name[0] = '\0';
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' && atoi(e->d_name) != getpid())
			snprintf(name, sizeof(name), "%s", e->d_name);
	}
	closedir(d);
	return name;
}

static void in_a_child(void)
{
	pid_t pid = fork();
	int status;

	t_need(pid >= 0);
	if (pid == 0) {
		if (other_thread()[0] != '\0')
			_exit(1);
		hold(40);
		t_sleep_ms(1500);
		_exit(held() < 30 * T_MiB ? 2 : 0); /* nobody gives back */
	}
	t_need(waitpid(pid, &status, 0) == pid);
	t_equal(status, 0);
}

static void idle(void)
{
	size_t before, switches;

	t_need(hak_option_set("PROFILE", "speed") == 0); /* keeps much */
	t_need(hak_option_set("BACKGROUND", "1") == 0);
	t_need(other_thread()[0] != '\0');
	hold(60);
	before = held();
	t_check_at(before >= 40 * T_MiB, before);
	t_sleep_ms(4500);
	t_check_at(held() < before * 3 / 4, held());
	in_a_child();
	hak_trim();
	t_sleep_ms(1500); /* it notices */
	switches = field_of(other_thread(), "voluntary_ctxt_switches:");
	t_sleep_ms(2000);
	t_equal(field_of(other_thread(), "voluntary_ctxt_switches:"), switches);
	hold(60); /* and wakes */
	before = held();
	t_sleep_ms(4500);
	t_check_at(held() < before * 3 / 4, held());
}

/* No thread can be had: one line, and the program goes on without. */
static void refused(void)
{
	struct rlimit none = { 0, 0 };
	char text[300];
	int ends[2], old = dup(STDERR_FILENO);
	ssize_t n;

	t_need(old >= 0 && pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);
	t_need(getrlimit(RLIMIT_AS, &none) == 0);
	none.rlim_cur = t_status_kib("VmSize") * T_KiB;
	t_need(setrlimit(RLIMIT_AS, &none) == 0);
	t_equal(hak_option_set("BACKGROUND", "1"), 0);
	none.rlim_cur = none.rlim_max;
	t_need(setrlimit(RLIMIT_AS, &none) == 0 && dup2(old, STDERR_FILENO) >= 0);
	close(ends[1]);
	n = read(ends[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	t_check(strcmp(text, "hakmem: HAKMEM_BACKGROUND=1: no thread can be made\n") == 0);
	t_check(other_thread()[0] == '\0');
	hold(10);
	t_equal(hak_option_set("BACKGROUND", "0"), 0);
	close(ends[0]);
	close(old);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(refused), T_CASE(idle) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
