/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * Is descriptor 2 stderr? A program that closes it may get the number again for a file of its own, and
 * a warning or a dump in the middle of a database is worse than none. What cannot be told from a log
 * that the program has opened as its stderr counts as such a file. */
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct {
	dev_t device;
	ino_t inode;
	bool known;
} at_start;

/* One that was open when the program was executed doesn't carry the flag. */
static bool is_inherited(void)
{
	int flags = fcntl(2, F_GETFD);

	return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

/* Pipes, terminals and sockets cannot be damaged, nor can what is only appended to. */
static bool takes_lines(const struct stat *file)
{
	if (!S_ISREG(file->st_mode) && !S_ISBLK(file->st_mode))
		return true;
	return (fcntl(2, F_GETFL) & O_APPEND) != 0;
}

void hk_stderr_note(void)
{
	int saved_errno = errno;
	struct stat file;

	if (is_inherited() && fstat(2, &file) == 0) {
		at_start.device = file.st_dev;
		at_start.inode = file.st_ino;
		at_start.known = true;
	}
	errno = saved_errno;
}

int hk_stderr(void)
{
	int saved_errno = errno, fd = -1;
	struct stat file;

	if (fstat(2, &file) != 0)
		fd = -1;
	else if (at_start.known && file.st_dev == at_start.device && file.st_ino == at_start.inode)
		fd = 2;
	else if (takes_lines(&file))
		fd = 2;
	errno = saved_errno;
	return fd;
}
