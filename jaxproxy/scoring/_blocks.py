"""How codes are shared out to devices: how scores are computed, never what they are."""

from typing import NamedTuple

from jaxproxy.scoring._devices import Devices
from jaxproxy.scoring._lanes import Lanes


class Blocks(NamedTuple):
    """How codes are shared out: what is compiled for, and nothing of what is scored."""

    devices: Devices
    size: int
    """Codes of a block, a multiple of the devices."""
    lanes: Lanes

    def in_float64(self) -> "Blocks":
        """Returns how a program in float64 runs: beside an accelerator, on the host.

        Networks of equal weights are a few million operations in float64, which a TPU
        emulates and a GPU starts slower than a CPU computes.

        Raises:
          ValueError: there is an accelerator, and JAX was told not to use the CPU.
        """
        host = self.devices.of_host()
        return self if host is self.devices else Blocks(host, self.size, Lanes(1))
