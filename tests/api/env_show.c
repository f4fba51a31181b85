/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Prints the options named in argv as hakmem has them, and whether the process is a setuid one. For
 * env_run.py. */
#include <stdio.h>
#include <sys/auxv.h>

#include "hakmem/hakmem.h"

int main(int argc, char **argv)
{
	char value[100];

	hak_free(hak_malloc(100));
	printf("secure=%lu\n", getauxval(AT_SECURE));
	for (int i = 1; i < argc; i++) {
		int n = hak_option_get(argv[i], value, sizeof(value));

		printf("%s=%s\n", argv[i], n < 0 ? "?" : value);
	}
	return 0;
}
