# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem run: replaces itself by a program that has libhakmem preloaded.

The loader drops a preload that it can't use without a word, and the program runs on libc. So what
would come to that is looked for first, and refused with a sentence.

The standard library alone, and little of it: this stands before every start of a program.
"""

import os
import signal
import struct
import sys

from lab import cli

USAGE = """Usage: hakmem run [--profile P] [--stats] [--] PROGRAM [ARGUMENT …]

Runs a program on hakmem, by LD_PRELOAD; what LD_PRELOAD held already comes behind.

  --profile P   speed, balanced, lean or hardened
  --stats       a summary at exit, on stderr

The exit status is the program's; 127 when it is not found, 126 when it can't be run, or can't be
run on hakmem: static programs, those with more rights than the caller, of another libc or
machine. hakmem options lists what HAKMEM_… variables there are."""

PROFILES = ("speed", "balanced", "lean", "hardened")
NOT_FOUND, CANNOT_RUN = 127, 126
SCRIPTS_MAX = 5  # scripts whose interpreter is a script, before the kernel gives up
PT_INTERP = 3
MACHINES = {3: "i386", 40: "32-bit ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}


class Elf:
    """What the head of an ELF file says: kind, as (bits, byte order, machine), and the loader that
    it asks for, None in a static program."""

    def __init__(self, file):
        head = file.read(64)
        order = ">" if head[5] == 2 else "<"
        wide = head[4] == 2
        machine, = struct.unpack_from(order + "H", head, 18)
        self.kind = (64 if wide else 32, order, machine)
        at, = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        file.seek(at)
        table = file.read(size * count)
        self.loader = None
        for entry in range(0, size * count, size):
            if struct.unpack_from(order + "I", table, entry)[0] != PT_INTERP:
                continue
            at, = struct.unpack_from(order + ("Q" if wide else "I"), table, entry + (8 if wide else 4))
            length, = struct.unpack_from(order + ("Q" if wide else "I"), table,
                                         entry + (32 if wide else 16))
            file.seek(at)
            self.loader = os.fsdecode(file.read(length).rstrip(b"\0"))

    def __str__(self):
        bits, _, machine = self.kind
        return f"{MACHINES.get(machine, f'machine {machine}')} ({bits}-bit)"


def find(name, path):
    """The file that a shell would run for a word; ends the command when there is none."""
    if "/" in name:
        places = [name]
    else:
        places = [os.path.join(folder or ".", name) for folder in path.split(":")]
    files = [place for place in places if os.path.exists(place)]
    for place in files:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    if not files:
        return cli.fail(f"{name}: not found", NOT_FOUND)
    if os.path.isdir(files[0]):
        return cli.fail(f"{files[0]} is a directory", CANNOT_RUN)
    return cli.fail(f"{files[0]} is not executable", CANNOT_RUN)


def gains_rights(path):
    """Why the kernel starts this file with more rights than ours, and the loader so drops preloads;
    None when it does not."""
    status = os.stat(path)
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return None
    if status.st_mode & 0o4000 and status.st_uid != os.getuid():
        return "setuid"
    # without x for the group, the bit means something else
    if status.st_mode & 0o2010 == 0o2010 and status.st_gid != os.getgid():
        return "setgid"
    try:
        os.getxattr(path, "security.capability")
    except OSError:
        return None
    return "of higher capabilities" if os.getuid() else None  # root has them all


def check_program(path, file, library):
    """Ends the command if an ELF program can't be run on the library."""
    try:
        program = Elf(file)
        with open(library, "rb") as ours:
            wanted = Elf(ours).kind
    except (struct.error, IndexError):
        cli.fail(f"{path} is damaged: its ELF header is cut off", CANNOT_RUN)
    reason = None
    if program.kind != wanted:
        reason = f"it is for {program}, and {library} is not"
    elif not program.loader:
        reason = "it is statically linked, so that nothing can be preloaded"
    elif os.path.basename(program.loader).startswith("ld-musl"):
        reason = "it is linked with musl, and libhakmem.so with glibc"
    elif not os.path.exists(program.loader):
        reason = f"its loader {program.loader} does not exist"
    else:
        rights = gains_rights(path)
        if rights:
            reason = f"it is {rights}, and such programs ignore LD_PRELOAD"
    if reason:
        cli.fail(f"{path} can't be run on hakmem: {reason}", CANNOT_RUN)


def env_target(words):
    """The program that env(1) is to run, as far as can be said: after options, it can't."""
    for word in words:
        if word.startswith("-"):
            return None
        if "=" not in word:
            return word
    return None


def check(path, library, env, depth=0):
    """Ends the command if a file can't be run on the library; follows scripts."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
            file.seek(0)
            if head.startswith(b"\x7fELF"):
                check_program(path, file, library)
                return
    except OSError as error:
        if isinstance(error, PermissionError):  # may be run, but not be read
            cli.note(f"{path} can't be read, so whether it runs on hakmem is not known")
            return
        cli.fail(f"{path}: {error.strerror}", CANNOT_RUN)
    if not head.startswith(b"#!"):
        cli.fail(f"{path} is neither a program nor a script that begins with #!", CANNOT_RUN)
    if depth == SCRIPTS_MAX:
        cli.fail(f"{path}: too many scripts call each other", CANNOT_RUN)
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).split()
    if not words or not os.path.isfile(words[0]) or not os.access(words[0], os.X_OK):
        cli.fail(f"{path}: its interpreter {' '.join(words[:1])} can't be run", CANNOT_RUN)
    check(words[0], library, env, depth + 1)
    if os.path.basename(words[0]) == "env":
        target = env_target(words[2:] if words[1:2] == ["-S"] else words[1:])
        if target:
            check(find(target, env.get("PATH", os.defpath)), library, env, depth + 1)


def environment(library, profile=None, stats=False):
    """The caller's environment with the library preloaded."""
    if any(c in library for c in ": \t\n"):
        cli.fail(f"LD_PRELOAD can't name '{library}': no spaces and colons", 1)
    env = dict(os.environ)
    if "LC_CTYPE" in env:
        with open("/proc/self/environ", "rb") as file:
            if not any(line.startswith(b"LC_CTYPE=") for line in file.read().split(b"\0")):
                del env["LC_CTYPE"]  # Python's, not the caller's
    others = [word for word in env.get("LD_PRELOAD", "").replace(":", " ").split()
              if os.path.realpath(word) != os.path.realpath(library)]
    env["LD_PRELOAD"] = ":".join([library, *others])
    if profile:
        env["HAKMEM_PROFILE"] = profile
    if stats and env.get("HAKMEM_STATS", "0") in ("", "0"):
        env["HAKMEM_STATS"] = "1"
    return env


def parse(argv):
    """(profile, stats, program and its arguments); options end at the first word that is none."""
    profile, stats, words = None, False, list(argv)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if word == "--stats":
            stats = True
        elif word == "--profile" or word.startswith("--profile="):
            if word == "--profile" and not words:
                cli.fail("--profile needs a name")
            profile = word[10:] if "=" in word else words.pop(0)
            if profile not in PROFILES:
                cli.fail(f"there is no profile '{profile}': {', '.join(PROFILES)}")
        else:
            cli.fail(f"there is no option {word} (see hakmem run --help)")
    if not words:
        cli.fail("which program? (see hakmem run --help)")
    return profile, stats, words


def main(argv):
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    from lab import places  # not needed to refuse a bad command line

    profile, stats, words = parse(argv)
    library = str(places.library())
    env = environment(library, profile, stats)
    program = find(words[0], env.get("PATH", os.defpath))
    check(program, library, env)
    # Python ignores these two, and a program inherits that
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    try:
        os.execve(program, words, env)
    except OSError as error:
        return cli.fail(f"{program}: {error.strerror}", CANNOT_RUN)
