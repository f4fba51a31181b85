/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "os/signal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	char name[8];
	int number;
} names[] = {
	{ "HUP", SIGHUP },     { "INT", SIGINT },       { "QUIT", SIGQUIT }, { "USR1", SIGUSR1 },
	{ "USR2", SIGUSR2 },   { "ALRM", SIGALRM },     { "TERM", SIGTERM }, { "CHLD", SIGCHLD },
	{ "CONT", SIGCONT },   { "TSTP", SIGTSTP },     { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
	{ "URG", SIGURG },     { "XCPU", SIGXCPU },     { "XFSZ", SIGXFSZ }, { "PROF", SIGPROF },
	{ "WINCH", SIGWINCH }, { "VTALRM", SIGVTALRM }, { "IO", SIGIO },     { "PWR", SIGPWR },
};

/* The number that `text` is, from 0 on; -1. */
static int number_of(const char *text)
{
	int n = 0;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at < '0' || *at > '9' || n > SIGRTMAX)
			return -1;
		n = 10 * n + (*at - '0');
	}
	return *text != '\0' ? n : -1;
}

static int find(const char *name)
{
	int n = number_of(name);

	if (n >= 0)
		return n;
	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	if (strcmp(name, "RTMIN") == 0)
		return SIGRTMIN;
	if (strncmp(name, "RTMIN+", 6) == 0)
		return number_of(name + 6) >= 0 ? SIGRTMIN + number_of(name + 6) : 0;
	for (unsigned i = 0; i < HK_COUNT_OF(names); i++) {
		if (strcmp(name, names[i].name) == 0)
			return names[i].number;
	}
	return 0;
}

int hk_signal_number(const char *name)
{
	int n = find(name);
	bool is_fault = n == SIGSEGV || n == SIGBUS || n == SIGILL || n == SIGFPE || n == SIGTRAP ||
			n == SIGABRT || n == SIGSYS;

	if (n < 1 || n > SIGRTMAX || (n > SIGSYS && n < SIGRTMIN) || n == SIGKILL || n == SIGSTOP)
		return 0;
	return is_fault ? 0 : n;
}

bool hk_signal_handle(int number, void (*fn)(int number))
{
	int saved_errno = errno;
	struct sigaction now, ours = { .sa_handler = fn, .sa_flags = SA_RESTART | SA_ONSTACK };
	bool done = false;

	sigemptyset(&ours.sa_mask);
	if (sigaction(number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
	    now.sa_handler == SIG_DFL)
		done = sigaction(number, &ours, NULL) == 0;
	errno = saved_errno;
	return done;
}
