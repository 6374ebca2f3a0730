"""What a user can do wrong, and the exit code each mistake ends with."""

EXIT_DONE = 0
EXIT_CASE_FAILED = 7
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class HtcnnsError(Exception):
    """A mistake a person can mend; its message says where, what, found against expected, and what to do."""

    exit_code = 1


class SettingsError(HtcnnsError):
    """A setting or flag that does not exist or has an impossible value."""

    exit_code = 2


class InputError(HtcnnsError):
    """A folder, case or file that cannot be used as it is."""

    exit_code = 3


class WeightsError(HtcnnsError):
    """A manifest or weights file that is missing, damaged or of another network."""

    exit_code = 4


class DeviceError(HtcnnsError):
    """A device or precision that this machine does not have."""

    exit_code = 5


class OutputError(HtcnnsError):
    """A folder that cannot be written, or a disk that is full."""

    exit_code = 6


def require_known(name: str, known: object, *, what: str, where: str = "") -> None:
    """Raise SettingsError unless `name` is in the iterable `known`; the message lists what is known."""
    names = [str(item) for item in known]  # type: ignore[attr-defined]
    if name not in names:
        place = f"{where}: " if where else ""
        raise SettingsError(f"{place}unknown {what} {name!r}; known are {', '.join(names)}. Choose one of them.")
