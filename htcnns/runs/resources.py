"""What the next case of a batch runs on, and less of it once the device has run out of memory."""

from dataclasses import replace

import torch

from htcnns.errors import DeviceError, DeviceMemoryError
from htcnns.runs.devices import choose_precision, precision_name
from htcnns.runs.ensemble import Ensemble, load_ensemble
from htcnns.runs.method import method_digest
from htcnns.runs.settings import RunSettings


class Resources:
    """An ensemble and how many windows go through it together; a step down applies to all later cases.

    Attributes:
        ensemble: the members on their device.
        settings: the run's settings, with the number of windows at a time that fits.
        method: digest of what determines a mask besides the scans; unchanged by a step down.
    """

    def __init__(self, ensemble: Ensemble, settings: RunSettings) -> None:
        self.ensemble = ensemble
        self.settings = settings
        self.method = method_digest(ensemble.members, settings)

    def step_down(self, error: DeviceMemoryError) -> str:
        """Halve the windows at a time, or if it is one, move from a GPU that "auto" chose to the CPU.

        Returns:
            A sentence on what is done from here on.

        Raises:
            DeviceMemoryError: the given error, if no step down is left.
            WeightsError: the weights have changed or are gone.
        """
        device, n_windows = self.ensemble.device, self.settings.batch
        if n_windows > 1:
            self.settings = replace(self.settings, batch=n_windows // 2)
            return f"{device} ran out of memory with {n_windows} windows at a time; {n_windows // 2} from here on"
        if self.settings.device != "auto" or device.type == "cpu":
            raise error
        self.ensemble = self._on_the_cpu(error)
        precision = precision_name(self.ensemble.precision)
        return f"{device} ran out of memory with one window at a time; on the CPU in {precision} from here on"

    def _on_the_cpu(self, error: DeviceMemoryError) -> Ensemble:
        cpu = torch.device("cpu")
        try:
            precision = choose_precision(self.settings.precision, cpu)
        except DeviceError:  # the requested precision does not run on a CPU
            raise error from None
        return load_ensemble(self.ensemble.members, device=cpu, precision=precision)
