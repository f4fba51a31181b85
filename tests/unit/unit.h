/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_UNIT_H
#define HK_TESTS_UNIT_H
/* For unit tests: every case in a process of its own, since a box keeps its state in statics; and what
 * a child process printed before it died. */
#include "harness.h"

/* Like t_main, but each case in a child. */
int u_main(int argc, char **argv, const struct t_case *cases, size_t count);
#define U_MAIN(...)                                                                                \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		static const struct t_case cases[] = { __VA_ARGS__ };                              \
                                                                                                   \
		return u_main(argc, argv, cases, T_COUNT(cases));                                  \
	}

/* What a child left: its wait status, and its stderr (cut, NUL-terminated). */
struct u_end {
	int status;
	char text[4096];
};
/* Runs fn(arg) in a child, which exits with 0 when fn returns. */
void u_child(void (*fn)(void *), void *arg, struct u_end *end);
/* fn(arg) aborts, after exactly one line: `hakmem: `, then something with `text` in it. */
bool u_dies(void (*fn)(void *), void *arg, const char *text);
/* fn(arg) returns, and prints nothing. */
bool u_lives(void (*fn)(void *), void *arg);

#endif
