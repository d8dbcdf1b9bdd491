"""The geometry of a convolution, by which its form is chosen."""

from typing import NamedTuple


class Window(NamedTuple):
    """Static geometry of a convolution; each field is (height, width)."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    lhs_dilation: tuple[int, int]
    rhs_dilation: tuple[int, int]
    groups: int
    portable: bool = False
    """Whether it is for reverse mode twice, so of no form for some platform alone."""

    @classmethod
    def of(
        cls,
        x: tuple[int, ...],
        kernel: tuple[int, ...],
        stride: int,
        dilation: int,
        groups: int,
    ) -> "Window":
        """With symmetric padding, for shapes of an input and a kernel.

        Raises:
          ValueError: if channels and groups do not fit.
        """
        if len(x) != 4 or len(kernel) != 4:
            raise ValueError(f"conv takes 4-d arrays, not {x} and {kernel}")
        channels, (per_group, out) = x[3], kernel[2:]
        if channels != per_group * groups or out % groups:
            raise ValueError(
                f"kernel {kernel} with groups={groups} does not fit {channels} input "
                "channels; it needs [k, k, Cin // groups, n * groups]"
            )
        pads = [dilation * (k - 1) // 2 for k in kernel[:2]]
        return cls(
            strides=(stride, stride),
            padding=((pads[0], pads[0]), (pads[1], pads[1])),
            lhs_dilation=(1, 1),
            rhs_dilation=(dilation, dilation),
            groups=groups,
        )

    @property
    def is_dense(self) -> bool:
        """Whether nothing is dilated or grouped."""
        return self.lhs_dilation == self.rhs_dilation == (1, 1) and self.groups == 1

    def is_plain3(self, kernel: tuple[int, ...], channels: int) -> bool:
        """Whether it is 3x3 and no more, of at most so many channels."""
        plain = self == Window((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1)
        return kernel[:2] == (3, 3) and plain and max(kernel[2:]) <= channels

    def is_dense3(self, kernel: tuple[int, ...], channels: int) -> bool:
        """Whether it is 3x3, with any stride and padding, of at most so many channels.

        And may take a form for that.
        """
        dense = self.is_dense and not self.portable
        return kernel[:2] == (3, 3) and dense and max(kernel[2:]) <= channels

    def is_matmul(self, kernel: tuple[int, ...]) -> bool:
        """Whether it is 1x1 and no more."""
        plain = Window((1, 1), ((0, 0), (0, 0)), (1, 1), self.rhs_dilation, 1)
        return kernel[:2] == (1, 1) and self._replace(portable=False) == plain

    def is_depthwise(self, kernel: tuple[int, ...]) -> bool:
        """Whether it has a channel for each group and may take the form for that."""
        plain = self.rhs_dilation == (1, 1) and not self.portable
        return plain and kernel[2] == 1 and kernel[3] == self.groups > 1


def dilated(size: int, dilation: int) -> int:
    """Length of ``size`` taps or pixels so far apart."""
    return (size - 1) * dilation + 1
