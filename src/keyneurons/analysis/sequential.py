"""Sequential Monte Carlo tests: controls are drawn until the answer stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value


@dataclass(frozen=True)
class Stopping:
    """When to stop drawing controls (Besag & Clifford 1991, Biometrika 78:301).

    Controls are drawn one after the other until ``exceedances`` of them are at least as high as the
    observed value, and at most ``most``. If the last exceedance is the n-th control, the p-value is
    ``exceedances / n``; if there are fewer, it is ``(1 + # exceedances) / (1 + most)``. If the
    observed value is exchangeable with the controls, p lies at or below any of its possible values
    x with probability x, and below others more rarely.
    """

    exceedances: int
    most: int

    def __post_init__(self) -> None:
        if self.exceedances < 1 or self.most < 1:
            raise ValueError(f"exceedances and most must be at least 1, got {self.exceedances} and {self.most}")

    @property
    def least_p_value(self) -> float:
        """The smallest possible p-value."""
        return 1 / (1 + self.most)

    def is_over(self, observed: float, controls: Float[ndarray, " draws"]) -> bool:
        """Whether no more controls are needed."""
        return len(controls) >= self.most or int((controls >= observed).sum()) >= self.exceedances

    def p_value(self, observed: float, controls: Float[ndarray, " draws"]) -> float:
        """The one-sided p-value; controls after the last exceedance do not count.

        Args:
            observed: the observed value.
            controls: the controls in the order of drawing.

        Returns:
            The p-value.

        Raises:
            ValueError: more controls are needed, there are too many, or a value is not finite.
        """
        if len(controls) > self.most or not self.is_over(observed, controls):
            raise ValueError(
                f"a sequential test ends with {self.exceedances} exceedances or {self.most} controls, "
                f"got {int((controls >= observed).sum())} and {len(controls)}"
            )
        plain = empirical_p_value(observed, controls)  # checks that all values are finite
        higher = np.flatnonzero(controls >= observed)
        return plain if len(higher) < self.exceedances else self.exceedances / (int(higher[self.exceedances - 1]) + 1)
