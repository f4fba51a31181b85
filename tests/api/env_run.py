#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The environment: values in force, one warning for each mistake, none for legacy names, and nothing
read in setuid programs.   env_run.py [emulator …] env_show"""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

COMMAND = sys.argv[1:]
failures = 0


def run(env, *names, command=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    done = subprocess.run((command or COMMAND) + list(names), env={**clean, **env},
                          capture_output=True, text=True, timeout=60)
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return done.returncode, values, done.stderr.splitlines()


def check(what, ok, detail=""):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED {what}: {detail}")
    else:
        print(f"ok     {what}")


def warns(what, env, *must):
    """Exactly one line, which begins with hakmem: and contains each of the words."""
    code, _, err = run(env)
    ok = code == 0 and len(err) == 1 and err[0].startswith("hakmem: ")
    ok = ok and all(re.search(word, err[0]) for word in must)
    check(what, ok, f"exit {code}, stderr {err}")


def takes(what, env, name, want):
    code, values, err = run(env, name)
    check(what, code == 0 and not err and re.fullmatch(want, values.get(name, "")),
          f"exit {code}, {values}, stderr {err}")


def setuid():
    """A copy that another user owns, with the s bit: AT_SECURE is set in it."""
    if os.geteuid() != 0 or len(COMMAND) != 1:
        print("skip   setuid: needs root and no emulator")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copy = os.path.join(folder, "env_show")
        shutil.copy(COMMAND[0], copy)
        os.chown(copy, 65534, 65534)
        os.chmod(copy, 0o755 | stat.S_ISUID)
        env = {"HAKMEM_BOUND": "77777", "HAKMEM_PROFILE": "nonsense", "HAKMEM_NO_SUCH": "1",
               "LD_LIBRARY_PATH": ""}
        code, values, err = run(env, "BOUND", command=[copy])
        if code != 0 or values.get("secure") != "1":
            print(f"skip   setuid: exit {code}, {values}, {err} (nosuid, or a library not found)")
            return
        check("setuid ignores the environment", not err and values["BOUND"] != "77777", f"{values} {err}")


def main():
    default = run({}, "BOUND", "BIN_BYTES", "PROFILE")
    check("clean start is silent", default[0] == 0 and not default[2], str(default))
    check("balanced is the default", default[1].get("PROFILE") == "balanced", str(default))

    takes("a number is taken", {"HAKMEM_BOUND": "7777777"}, "BOUND", "7777777")
    takes("a suffix is taken", {"HAKMEM_BOUND": "16M"}, "BOUND", "16M|16777216")
    takes("a profile is taken", {"HAKMEM_PROFILE": "lean"}, "WARM_UNITS", "0")
    takes("an old profile name is taken", {"HAKMEM_PROFILE": "MIXED_TINYV3_C7_SAFE"}, "WARM_UNITS", "16")
    takes("an old profile name is taken, 2", {"HAKMEM_PROFILE": "MIXED_TINYV3_C7_BALANCED"}, "WARM_UNITS", "4")
    takes("a variable beats the profile", {"HAKMEM_PROFILE": "lean", "HAKMEM_WARM_UNITS": "5"}, "WARM_UNITS", "5")
    takes("a word is taken", {"HAKMEM_SS_MEM_LEAN_DECOMMIT": "FREE"}, "SS_MEM_LEAN_DECOMMIT", "FREE")
    takes("empty is not set", {"HAKMEMX": "1", "XHAKMEM_BOUND": "1"}, "PROFILE", "balanced")

    warns("bad number", {"HAKMEM_BOUND": "abc"}, "HAKMEM_BOUND", "abc", "65536|64K", "1099511627776|1024G|1T")
    warns("number too small", {"HAKMEM_BOUND": "5"}, "HAKMEM_BOUND", r"\b5\b", "65536|64K")
    warns("bad word", {"HAKMEM_PROFILE": "fast"}, "HAKMEM_PROFILE", "fast", "speed", "balanced", "lean", "hardened")
    warns("bad bool", {"HAKMEM_BIGCACHE_L25": "yes"}, "HAKMEM_BIGCACHE_L25", "yes", "0", "1")
    code, values, _ = run({"HAKMEM_BOUND": "abc"}, "BOUND")
    check("a bad value leaves the default", code == 0 and values.get("BOUND") == default[1].get("BOUND"), str(values))
    warns("unknown name", {"HAKMEM_PROFIL": "lean"}, r"HAKMEM_PROFIL\b", r"HAKMEM_PROFILE\b")
    warns("unknown name, 2", {"HAKMEM_BIGCACHE_L2": "1"}, r"HAKMEM_BIGCACHE_L2\b", r"HAKMEM_BIGCACHE_L25\b")

    code, _, err = run({"HAKMEM_TINY_TCACHE": "1", "HAKMEM_FASTLANE_DIRECT": "1"})
    check("legacy names are silent", code == 0 and not err, str(err))
    code, _, err = run({"HAKMEM_TINY_TCACHE": "1", "HAKMEM_VERBOSE": "1"})
    check("legacy names are told once when asked", code == 0 and
          sum("HAKMEM_TINY_TCACHE" in line and "HAKMEM_TINY_TCACHE_CAP" not in line for line in err) == 1, str(err))
    setuid()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
