/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Filters that end the process at any system call but the published ones: the core list is all that
 * allocation needs, from several threads; further lists are for what a program asks for besides. Each
 * case is a process of its own, which says by its end whether a call was missing from the list:
 * docs/traps.md, section 6, has the lists. */
#include <stdlib.h>

#include "all_kinds.h"
#include "child.h"
#include "sandbox.h"

/* ---- The lists ---- */

static const int core[] = { SYS_mmap, SYS_munmap, SYS_madvise, SYS_mremap, SYS_futex };
static const int harden[] = { SYS_mincore, SYS_rt_sigprocmask };
static const int foreign[] = { SYS_mincore, SYS_rt_sigprocmask, SYS_brk };
static const int names[] = { SYS_prctl };
static const int dump[] = { SYS_fstat, SYS_newfstatat, SYS_fcntl, SYS_write };
static const int file[] = { SYS_openat, SYS_write, SYS_close, SYS_getpid };
static const int last_words[] = { SYS_write,  SYS_gettid,         SYS_getpid,
				  SYS_tgkill, SYS_rt_sigprocmask, SYS_rt_sigaction };
static const int background[] = { SYS_nanosleep };
static const int container[] = { SYS_openat, SYS_read, SYS_close };
/* The programs' own: to end, and what the C library does for a thread. */
static const int ends[] = { SYS_exit_group };
static const int threads[] = {
	SYS_exit,           SYS_clone,        SYS_clone3, SYS_mprotect,
	SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rseq,   SYS_set_robust_list
};
static const int forks[] = { SYS_clone, SYS_wait4, SYS_set_robust_list, SYS_rt_sigprocmask };
/* no waiting for the kernel's own random numbers */
static const struct sandbox_rule random_at_once = { SYS_getrandom, 2, 1 };

static struct sandbox box;

static void allow(const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sandbox_say(&box, (struct sandbox_rule){ .number = list[i] }, SECCOMP_RET_ALLOW);
}
#define ALLOW(list) allow(list, T_COUNT(list))

static void enter(void)
{
	ALLOW(core);
	ALLOW(ends);
	/* TRAP: the signal's handler says which call it was, for whoever looks for it */
	sandbox_enter(&box, getenv("SANDBOX_TRAP") ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS);
}

static void tell(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	_exit(100 + info->si_syscall % 100);
}

static void begin(void)
{
	struct sigaction act = { .sa_sigaction = tell, .sa_flags = SA_SIGINFO };

	if (getenv("SANDBOX_TRAP"))
		sigaction(SIGSYS, &act, NULL);
	sandbox_begin(&box);
}

static void need_status(int status, int want)
{
	if (status != want)
		t_say("wait status 0x%x, not 0x%x; SANDBOX_TRAP=1 makes it an exit status of 100 + the call's number modulo 100",
		      (unsigned)status, (unsigned)want);
	t_check(status == want);
}

static void in_sandbox(void *fn)
{
	begin();
	((void (*)(void))fn)();
}

/* fn in a child, which makes its own sandbox. */
static void in_child(void (*fn)(void), int want)
{
	need_status(run_child(in_sandbox, (void *)fn), want);
}

/* ---- The core list ---- */

static void all_kinds(void)
{
	pthread_t thread[KINDS_THREADS];

	kinds_threads_stay = true;
	kinds_prepare(thread);
	enter();
	kinds_run();
}

static const char *profile;

static void all_kinds_in_profile(void)
{
	t_need(T_OPTION_SET("PROFILE", profile) == 0);
	t_need(T_OPTION_SET("CONTAINER", "0") == 0); /* its files are another list's */
	all_kinds();
}

static void core_list(void)
{
	static const char *const profiles[] = { "balanced", "speed", "lean" };

	for (size_t i = 0; i < T_COUNT(profiles); i++) {
		profile = profiles[i];
		in_child(all_kinds_in_profile, 0);
	}
}

/* 100 MiB more, over more than a second: when it is time to look at the container. */
static void grow(void)
{
	static void *piece[100];

	for (unsigned i = 0; i < T_COUNT(piece); i++) {
		piece[i] = T_MALLOC(T_MiB);
		t_need(piece[i] != NULL);
		T_FREE(T_MALLOC(6 * T_MiB)); /* hakmem looks at the clock */
		if (i == 90)
			syscall(SYS_nanosleep, &(struct timespec){ 1, 200000000 }, NULL);
	}
	for (unsigned i = 0; i < T_COUNT(piece); i++)
		T_FREE(piece[i]);
}

static void large_alone(void)
{
	ALLOW(background); /* for the test's own sleep */
	enter();
	grow();
}

static void large_in_container(void)
{
	t_need(T_OPTION_SET("CONTAINER", "1") == 0);
	ALLOW(background);
	ALLOW(container);
	enter();
	grow();
}

static void large_without_its_list(void)
{
	t_need(T_OPTION_SET("CONTAINER", "1") == 0);
	ALLOW(background);
	enter();
	grow();
}

static void container_list(void)
{
	in_child(large_alone, 0);
	in_child(large_in_container, 0);
	if (getenv("SANDBOX_TRAP") == NULL)
		in_child(large_without_its_list, SIGSYS);
}

static void one_call_less(void)
{
	sandbox_say(&box, (struct sandbox_rule){ .number = SYS_madvise }, SECCOMP_RET_KILL_PROCESS);
	all_kinds();
}

/* Is it the filter that is tested? */
static void filters_kill(void)
{
	if (getenv("SANDBOX_TRAP") == NULL)
		in_child(one_call_less, SIGSYS);
}

static void *some_kinds(void *arg)
{
	kinds_use((uintptr_t)arg, 200);
	return NULL;
}

static void come_and_go(void)
{
	ALLOW(threads);
	enter();
	for (uintptr_t i = 1; i <= 20; i++)
		t_join(t_thread(some_kinds, (void *)i));
	kinds_free();
}

static void threads_come_and_go(void) { in_child(come_and_go, 0); }

static void fork_in_there(void)
{
	pthread_t thread[KINDS_THREADS];
	int status = 0;
	pid_t pid;

	kinds_threads_stay = true;
	kinds_prepare(thread);
	ALLOW(forks);
	enter();
	pthread_barrier_wait(&kinds_begin); /* they are busy when it forks */
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		kinds_use(5, 300);
		kinds_free();
		syscall(SYS_exit_group, 0);
	}
	t_need(waitpid(pid, &status, 0) == pid);
	need_status(status, 0);
}

static void forks_in_the_sandbox(void) { in_child(fork_in_there, 0); }

/* ---- What is asked for besides ---- */

static void hardened_kinds(void)
{
	t_need(T_OPTION_SET("PROFILE", "hardened") == 0);
	ALLOW(harden);
	sandbox_say(&box, random_at_once, SECCOMP_RET_ALLOW);
	all_kinds();
}

static void hardened(void) { in_child(hardened_kinds, 0); }

static void named_kinds(void)
{
	t_need(T_OPTION_SET("NAMES", "1") == 0);
	ALLOW(names);
	all_kinds();
}

static void named(void) { in_child(named_kinds, 0); }

/* One that libc made before, or by itself. */
static void free_foreign(void)
{
	void *(*libc_malloc)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "__libc_malloc");
	void *p = libc_malloc(100), *q = libc_malloc(T_MiB);

	ALLOW(foreign);
	enter();
	T_FREE(T_REALLOC(p, 1000));
	T_FREE(q);
}

static void foreign_pointers(void) { in_child(free_foreign, 0); }

static void make_a_mistake(void)
{
	char *p = T_MALLOC(T_MiB);

	ALLOW(last_words);
	enter();
	T_FREE(p + 16);
}

static void messages(void) { in_child(make_a_mistake, SIGABRT); }

static void give_back_by_time(void)
{
	t_need(T_OPTION_SET("BACKGROUND", "1") == 0); /* the thread is made here */
	t_sleep_ms(50);
	ALLOW(background);
	enter();
	kinds_use(1, 300);
	kinds_free();
	syscall(SYS_nanosleep, &(struct timespec){ 1, 200000000 }, NULL);
}

static void background_thread(void) { in_child(give_back_by_time, 0); }

/* Dumps come at the exit of a process that was started so; its last calls are under the filter. */
static const char *self;

static void dumps_at_exit(const char *how)
{
	char library[4096], where[64];
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)how, NULL };
	char *envp[] = { library, where, NULL };
	char text[4000] = "";
	int out[2], status = 0;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	snprintf(library, sizeof(library), "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
	snprintf(where, sizeof(where), "HAKMEM_STATS=%s",
		 strcmp(how, "to_file") == 0 ? "/dev/null" : "1");
	t_need(pipe(out) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		dup2(out[1], 2);
		execve(self, argv, envp);
		_exit(1);
	}
	close(out[1]);
	while (used < sizeof(text) - 1 &&
	       (n = read(out[0], text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	close(out[0]);
	t_need(waitpid(pid, &status, 0) == pid);
	need_status(status, 0);
	t_check((strstr(text, "hakmem: live") != NULL) == (strcmp(how, "to_stderr") == 0));
}

static void statistics(void)
{
	dumps_at_exit("to_stderr");
	dumps_at_exit("to_file");
}

/* What that process does. */
static int end_by_exit(const char *how)
{
	begin();
	if (strcmp(how, "to_file") == 0)
		ALLOW(file);
	else
		ALLOW(dump);
	enter();
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(core_list),
		T_CASE(container_list),
		T_CASE(filters_kill),
		T_CASE(threads_come_and_go),
		T_CASE(forks_in_the_sandbox),
		T_CASE(hardened),
		T_CASE(named),
		T_CASE(foreign_pointers),
		T_CASE(messages),
		T_CASE(statistics),
		T_CASE(background_thread),
	};

	self = argv[0];
	if (argc > 1 && strncmp(argv[1], "to_", 3) == 0)
		return end_by_exit(argv[1]);
	/* has a list of its own: container_list */
	t_need(T_OPTION_SET("CONTAINER", "0") == 0);
	return t_main(argc, argv, cases, T_COUNT(cases));
}
