"""The container's front door: answers every challenge's way of calling, then calls htcnns.

(no arguments), or flags alone       2021-22 and 2025 challenges, hospitals: /input to /output
infer --data_path=… --output_path=…  2023-24 challenges and the `brats` package
htcnns …                             the command line
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

HELP = """usage: docker run IMAGE [FLAGS | infer --data_path=DIR --output_path=DIR [FLAGS] | htcnns COMMAND …]
Without a command every case in /input is segmented into /output; FLAGS are those of `htcnns segment`.
`htcnns --help` lists the commands."""
CACHES = ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def main(arguments: list[str]) -> int:
    """Answer one call; the exit code."""
    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # process 1 of a container has no default handler
    try:
        folder = tempfile.TemporaryDirectory(prefix="htcnns-", ignore_cleanup_errors=True)
    except OSError as error:
        print(f"htcnns: no temporary folder; {error}. Add --tmpfs /tmp, or set TMPDIR.", file=sys.stderr)
        return 6
    with folder as caches:
        os.environ.update(dict.fromkeys(CACHES, caches))  # any user id will do, and none needs a home
        if arguments and arguments[0] == "infer":
            return infer(arguments[1:])
        return command_line(arguments)


def command_line(arguments: list[str]) -> int:
    """The htcnns command line; /input to /output where no command is named."""
    from htcnns.cli import main as htcnns  # after the caches are set

    if arguments and arguments[0] == "htcnns":
        return htcnns(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        print(f"htcnns: unknown command {arguments[0]!r}; known are infer and htcnns.\n{HELP}", file=sys.stderr)
        return 2
    return htcnns(["segment", "/input", "/output", "--short-names", *arguments])


def infer(arguments: list[str]) -> int:
    """The call of 2023-24: one mask a case whatever happens, and 0 as soon as one case succeeded.

    Flags come as --x=y or --x y; unknown ones are said and ignored.
    """
    from htcnns.console import run_and_tell, tell_error  # after the caches are set
    from htcnns.errors import HtcnnsError, SettingsError
    from htcnns.runs.batch import BatchSettings
    from htcnns.runs.folder import SHIPPED_WEIGHTS, Request
    from htcnns.terminal import print_any_name

    print_any_name()
    flags = parse_flags(arguments)
    try:
        for name in ("data_path", "output_path"):
            if not flags.get(name):
                raise SettingsError(
                    f"infer: --{name} missing; found {', '.join(flags) or 'no flags'}. Add --{name}=DIR."
                )
        request = Request(
            input=Path(flags.pop("data_path")),
            output=Path(flags.pop("output_path")),
            weights=weights_folder(flags.pop("weights", ""), shipped=SHIPPED_WEIGHTS),
            batch=BatchSettings(on_failure=flags.pop("on_failure", "empty"), labels=flags.pop("labels", None)),
        )
        flags.pop("parameters_file", None)  # part of the contract; nothing in it concerns us
        if flags:
            print(f"infer: ignored {', '.join('--' + name for name in flags)}", flush=True)
        return run_and_tell(request, any_success_is_success=True)
    except HtcnnsError as error:
        return tell_error(error)


def parse_flags(arguments: list[str]) -> dict[str, str]:
    """Values by flag name without dashes, `-` as `_`; a flag without a value has an empty one."""
    flags: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            flags[name] = value
        elif name and not flags[name]:
            flags[name] = argument
    return flags


def weights_folder(given: str, *, shipped: Path) -> Path:
    """The folder given if it holds a manifest of ours, else the shipped one: challenge runners mount dummies there."""
    if not given:
        return shipped
    try:
        if (Path(given) / "manifest.json").is_file():
            return Path(given)
        problem = f"no manifest.json in {given}"
    except OSError as error:  # such as a folder of another user
        problem = f"cannot look into {given} ({error.strerror})"
    print(f"infer: {problem}; using the shipped weights", flush=True)
    return shipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
