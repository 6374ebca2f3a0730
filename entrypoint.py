"""The container's front door: answers every challenge's calling convention, then calls htcnns.

(no arguments), or flags alone       2021-22 and 2025 challenges, hospitals: /input to /output
infer --data_path=… --output_path=…  2023-24 challenges and the `brats` package
htcnns …                             the command line
"""

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

HELP = """usage: docker run IMAGE [FLAGS | infer --data_path=DIR --output_path=DIR [FLAGS] | htcnns COMMAND …]
Without a command every case in /input is segmented into /output; FLAGS are those of `htcnns segment`.
`infer` writes a mask for every case, an empty one where a case fails; it ignores FLAGS that it does not know.
`htcnns --help` lists the commands."""


def main(arguments: list[str]) -> int:
    """Answer one call and return the exit code."""
    # This comes first: process 1 has no default handlers, and the imports below take seconds.
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _answer(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _answer(arguments: list[str]) -> int:
    from htcnns.doors.terminal import print_error, steady_output  # after the signal handlers are set
    from htcnns.errors import HtcnnsError
    from htcnns.files.caches import private_caches

    with steady_output():
        if arguments and arguments[0] in ("-h", "--help", "help"):
            print(HELP)
            return 0
        try:
            with private_caches():
                return infer(arguments[1:]) if arguments and arguments[0] == "infer" else command_line(arguments)
        except HtcnnsError as error:
            return print_error(error)


def command_line(arguments: list[str]) -> int:
    """Run the htcnns command line, from /input to /output if no command is named, and return its exit code."""
    from htcnns.doors.cli import main as htcnns  # after the caches are set
    from htcnns.errors import SettingsError

    if arguments and arguments[0] == "htcnns":
        return htcnns(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        print(f"htcnns: unknown command {arguments[0]!r}; known are infer and htcnns.\n{HELP}", file=sys.stderr)
        return SettingsError.exit_code
    return htcnns(["segment", "/input", "/output", "--short-names", *arguments])


def infer(arguments: list[str]) -> int:
    """Answer the call of 2023-24: one mask per case whatever happens; exit code 0 if any case succeeded.

    Flags come as --x=y or --x y; unknown ones are reported and ignored.

    Raises:
        HtcnnsError: anything that stops the run, before or during the work.
    """
    from pathlib import Path

    from htcnns.doors.run_printer import segment_and_print  # after the caches are set
    from htcnns.errors import SettingsError
    from htcnns.runs.settings import OnFailure, OnUnclear, RunSettings

    flags = parse_flags(arguments)
    for name in ("data_path", "output_path"):
        if not flags.get(name):
            raise SettingsError(
                f"--{name} missing",
                place="infer",
                found=", ".join(f"--{flag}" for flag in flags) or "no flags",
                remedy=f"Add --{name}=DIR.",
            )
    data, output = Path(flags.pop("data_path")), Path(flags.pop("output_path"))
    settings = RunSettings(
        weights=weights_folder(flags.pop("weights", "")),
        on_failure=flags.pop("on_failure", OnFailure.EMPTY),
        on_unclear=flags.pop("on_unclear", OnUnclear.FAIL),
        labels=flags.pop("labels", None),
    )
    flags.pop("parameters_file", None)  # part of the convention; we need nothing in it
    if flags:
        print(f"infer: ignored {', '.join('--' + name for name in flags)}", flush=True)
    return segment_and_print(data, output, settings, any_success_is_success=True)


def parse_flags(arguments: list[str]) -> dict[str, str]:
    """Values by flag name, without leading dashes and with `_` for `-`; a flag without a value has an empty one."""
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


def weights_folder(given: str) -> "Path | None":
    """The given folder if it contains our manifest, else None: challenge runners mount dummy folders there."""
    from pathlib import Path

    from htcnns.files.manifest import MANIFEST  # after the caches are set
    from htcnns.files.places import is_file

    if not given or is_file(Path(given) / MANIFEST):
        return Path(given) if given else None
    print(f"infer: no readable {MANIFEST} in {given}; using the shipped weights", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
