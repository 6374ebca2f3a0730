"""The command that says whether a run would work here."""

from htcnns.doors.arguments import WeightsFolder
from htcnns.doors.weights_cli import verify_weights


def doctor(weights: WeightsFolder = None) -> int:
    """Show versions, devices and precision, and verify the weights."""
    from htcnns.runs.devices import choose_device, choose_precision, environment, precision_name  # imports torch

    for key, value in environment().items():
        print(f"{key}: {value}")
    device = choose_device("auto")
    print(f"would run on {device} in {precision_name(choose_precision('auto', device))}")
    return verify_weights(weights)
