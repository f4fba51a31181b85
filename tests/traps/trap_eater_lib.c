/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* 64 bytes of static TLS, of the loader's reserve. */
char *trap_eat(void);

static _Thread_local char eaten[64] __attribute__((tls_model("initial-exec")));

char *trap_eat(void) { return eaten; }
