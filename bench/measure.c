/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Runs a program and reports what it cost: times and page faults by wait4, and the peak RSS (VmHWM)
 * of the largest process among it and its descendants.
 *
 * ru_maxrss cannot say the latter: it survives exec, so a small program started by a large launcher
 * reports the launcher. VmHWM belongs to one memory map and is gone when the process is reaped, so
 * it is read in between: ptrace stops each process once, on its way out, while its memory is still
 * there. Forks are followed, threads are not, so nothing else of the program runs slower. What is
 * not seen: a process forked by another thread than a process's first, and the memory that a
 * process had before it called exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	EXIT_MEASURE = 125, /* this program's own failure, as in timeout(1) */
	EXIT_NO_EXEC = 127,
	DEFAULT_FD = 3,
};

struct report {
	uint64_t vmhwm_kib; /* of the largest process */
	uint64_t processes; /* that ended while the program ran */
	pid_t largest;
	char largest_name[32];
	bool traced;
	int status; /* the program's, as wait4 gave it */
	struct rusage usage;
	uint64_t wall_ns;
};

static volatile sig_atomic_t child_pid;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	exit(EXIT_MEASURE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- Signals --------------------------------------------------------------------------------- */

/* Hands a signal on to the program. One from the terminal has reached it already. */
static void forward(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (child_pid > 0 && info->si_code != SI_KERNEL)
		kill((pid_t)child_pid, number);
}

static const int forwarded[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM };

static void forward_signals(void)
{
	struct sigaction action = { .sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaction(forwarded[i], &action, NULL);
}

/* ---- Reading a process that is about to end -------------------------------------------------- */

static void read_status(struct report *report, pid_t pid)
{
	char path[64], line[256], name[32] = "";
	unsigned long long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Name: %31s", name) == 1)
			continue;
		if (sscanf(line, "VmHWM: %llu", &kib) == 1)
			break;
	}
	fclose(file);
	if (kib > report->vmhwm_kib) {
		report->vmhwm_kib = kib;
		report->largest = pid;
		memcpy(report->largest_name, name, sizeof(name));
	}
}

/* A traced process has stopped: look at why, and let it go on. */
static void handle_stop(struct report *report, pid_t pid, int status)
{
	int signal_number = WSTOPSIG(status);
	int event = status >> 16;

	switch (event) {
	case PTRACE_EVENT_EXIT:
		report->processes++;
		read_status(report, pid);
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_EXEC:
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		break;
	case PTRACE_EVENT_STOP:
		/* The first stop of a followed child, or a stopped job that must stay stopped. */
		if (signal_number == SIGSTOP || signal_number == SIGTSTP ||
		    signal_number == SIGTTIN || signal_number == SIGTTOU)
			ptrace(PTRACE_LISTEN, pid, NULL, NULL);
		else
			ptrace(PTRACE_CONT, pid, NULL, NULL);
		break;
	default:
		ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)signal_number);
		break;
	}
}

/* Until the program itself has ended. Descendants that live on are let go when this one ends. */
static void follow(struct report *report, pid_t program)
{
	for (;;) {
		struct rusage usage;
		int status;
		pid_t pid = wait4(-1, &status, __WALL, &usage);

		if (pid < 0) {
			if (errno == EINTR)
				continue;
			fail("wait4");
		}
		if (WIFSTOPPED(status)) {
			handle_stop(report, pid, status);
			continue;
		}
		if (pid == program) {
			report->status = status;
			report->usage = usage;
			return;
		}
	}
}

/* ---- Program --------------------------------------------------------------------------------- */

/* The child waits for the go-ahead, so that it is traced from its first instruction on. */
static _Noreturn void run_child(int gate, char **argv)
{
	char byte;

	if (read(gate, &byte, 1) != 1)
		_exit(EXIT_MEASURE);
	close(gate);
	execvp(argv[0], argv);
	fprintf(stderr, "measure: %s: %s\n", argv[0], strerror(errno));
	_exit(EXIT_NO_EXEC);
}

static void run(struct report *report, char **argv, int report_fd)
{
	int gate[2];
	uint64_t start;
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC))
		fail("pipe2");
	fcntl(report_fd, F_SETFD, FD_CLOEXEC);
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(gate[1]);
		run_child(gate[0], argv);
	}
	close(gate[0]);
	child_pid = pid;
	forward_signals();
	report->traced = ptrace(PTRACE_SEIZE, pid, NULL,
				(void *)(intptr_t)(PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK |
						   PTRACE_O_TRACEVFORK)) == 0;
	if (!report->traced)
		fprintf(stderr, "measure: no peak RSS, since ptrace is refused: %s\n",
			strerror(errno));
	start = now_ns();
	if (write(gate[1], "", 1) != 1)
		fail("write");
	close(gate[1]);
	follow(report, pid);
	report->wall_ns = now_ns() - start;
	child_pid = 0;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void write_report(int fd, const struct report *report)
{
	const struct rusage *u = &report->usage;
	int length;

	length =
		dprintf(fd,
			"status=%d wall_s=%.6f user_s=%.6f sys_s=%.6f minflt=%ld majflt=%ld "
			"nvcsw=%ld nivcsw=%ld vmhwm_kib=%" PRIu64 " processes=%" PRIu64
			" largest_pid=%d largest_name=%s\n",
			exit_code(report->status), (double)report->wall_ns / 1e9,
			seconds(u->ru_utime), seconds(u->ru_stime), u->ru_minflt, u->ru_majflt,
			u->ru_nvcsw, u->ru_nivcsw, report->vmhwm_kib, report->processes,
			(int)report->largest, report->largest_name[0] ? report->largest_name : "-");
	if (length < 0)
		fail("cannot write the report");
}

static _Noreturn void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"measure [-o FILE] [-e NAME=VALUE]... [--] PROGRAM [ARGUMENTS]\n"
		"Runs PROGRAM and writes one line of key=value about it to FILE, or to file\n"
		"descriptor 3 when that is open, or to stderr. -e sets a variable for PROGRAM\n"
		"only, -e NAME= removes it. The exit status is PROGRAM's, 128 + N after signal\n"
		"N.\n");
	exit(code);
}

int main(int argc, char **argv)
{
	struct report report = { 0 };
	const char *path = NULL;
	int fd = fcntl(DEFAULT_FD, F_GETFD) < 0 ? STDERR_FILENO : DEFAULT_FD;
	int option;

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		usage(0);
	while ((option = getopt(argc, argv, "+o:e:")) != -1) {
		char *equals = option == 'e' ? strchr(optarg, '=') : NULL;

		if (option == 'o') {
			path = optarg;
		} else if (equals) {
			*equals = '\0';
			if (equals[1] ? setenv(optarg, equals + 1, 1) : unsetenv(optarg))
				fail("the environment");
		} else {
			usage(EXIT_MEASURE);
		}
	}
	if (optind >= argc)
		usage(EXIT_MEASURE);
	if (path)
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(path);
	/* stderr stays open for the program; anything else is this program's alone. */
	if (fd == STDERR_FILENO)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	run(&report, argv + optind, fd);
	write_report(fd, &report);
	return exit_code(report.status);
}
