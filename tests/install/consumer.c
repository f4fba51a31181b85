/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A program that uses the installed hakmem. argv[1]: the version that it must be. Argument "serves":
 * malloc is hakmem's too. */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	void *volatile p = hak_malloc(100);
	struct hak_stats before, after;
	int served;

	if (argc < 2 || p == NULL || strcmp(hak_version(), argv[1]) != 0) {
		fprintf(stderr, "hakmem %s\n", hak_version());
		return 1;
	}
	hak_free(p);
	hak_stats_get(&before);
	p = malloc(5000000);
	hak_stats_get(&after);
	free(p);
	served = after.live >= before.live + 5000000;
	return argc > 2 && !served ? 2 : 0;
}
