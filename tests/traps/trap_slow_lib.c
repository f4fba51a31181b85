/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A library whose constructor does not end. */
#include <unistd.h>

__attribute__((constructor)) static void wait_for_ever(void)
{
	for (;;)
		pause();
}
