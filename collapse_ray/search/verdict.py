"""What a definition of collapse must offer, and what its verdict says."""

import math
from abc import ABC
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from collapse_ray.config.payload import PayloadKind
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Spec

Status = Literal["healthy", "collapsing", "collapsed", "undecided", "not measured"]


class Signal(Spec):
    """A metric, and how far it may move from its value at generation 1.

    Collapsing is worse than the tolerance, collapsed worse than the threshold, healthy is what is shown to be better
    than the threshold: each beyond the noise.
    """

    metric: str
    """Name of the value, as metrics return it; its sampling error is the value of that name and `_stderr`."""
    worse: Literal["higher", "lower"]
    """The direction of collapse."""
    scale: Literal["difference", "ratio"]
    """Of a generation and generation 1: `difference` in the metric's unit, or `ratio`, compared in logarithms."""
    tolerance: float
    """The change that a healthy lineage may show: a difference of at least 0, or a ratio on the worse side of 1."""
    threshold: float
    """The change that is collapse, not better than the tolerance; for `ratio` 0.5 is half of generation 1's value."""
    floor: float = Field(default=1e-6, gt=0)
    """Smaller values count as this one where the scale is `ratio`, because 0 has no logarithm."""
    replicate_stddev: float | None = Field(default=None, gt=0)
    """Standard deviation between replicates of one generation, where it is known beforehand: of the value, or of its
    logarithm for `ratio`. It then stands for the spread of the replicates at hand, of which one is enough."""

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        tolerance, threshold = self.limits if self.scale == "difference" or self._positive else (math.nan, math.nan)
        if not 0 <= tolerance <= threshold:
            side = "at most 1" if self.worse == "lower" else "at least 1"
            allowed = (
                "0 <= tolerance <= threshold, whatever the direction"
                if self.scale == "difference"
                else f"ratios above 0 and {side}, the threshold farther from 1 than the tolerance"
            )
            raise ValueError(
                f"{self.metric}: tolerance={self.tolerance} and threshold={self.threshold} are out of order; allowed: "
                f"{allowed}; correct them"
            )
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Tolerance and threshold as worsenings: 0 is no change, larger is worse."""
        if self.scale == "difference":
            return self.tolerance, self.threshold
        sign = 1 if self.worse == "higher" else -1
        # 0.0 is added because a tolerance of 1 would give -0.0.
        return sign * math.log(self.tolerance) + 0.0, sign * math.log(self.threshold) + 0.0

    @property
    def _positive(self) -> bool:
        return min(self.tolerance, self.threshold) > 0

    def badness(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale on which they are compared, larger is worse."""
        sign = 1 if self.worse == "higher" else -1
        return sign * (values if self.scale == "difference" else np.log(np.maximum(values, self.floor)))

    def noise(self, values: np.ndarray, variances: np.ndarray | None) -> np.ndarray | None:
        """Known variances of `badness(values)`: of the sampling (by the delta method), of known replicates, or both."""
        if variances is not None and self.scale == "ratio":
            variances = variances / np.maximum(values, self.floor) ** 2
        if self.replicate_stddev is None:
            return variances
        return np.full_like(values, self.replicate_stddev**2) + (0 if variances is None else variances)

    def change(self, worsening: float) -> float:
        """A worsening in the words of the scale: the signed difference, or the ratio."""
        signed = worsening if self.worse == "higher" else -worsening
        return signed if self.scale == "difference" else math.exp(signed)

    def hidden(self, first: float) -> bool:
        """Whether a collapse from this value at generation 1 would lie below the floor, where nothing shows."""
        return self.scale == "ratio" and self.worse == "lower" and first * self.threshold < self.floor


@dataclass(frozen=True, eq=False)
class Criterion:
    """A contrast of generations, to be compared with two limits.

    `weights` (T, T): row t weighs the generations after generation t. Limits are worsenings.
    """

    name: str
    weights: np.ndarray
    tolerance: float
    threshold: float


class VerdictSpec(Plugin, ABC):
    """One definition of collapse: the signal of each modality, null where the definition has none there.

    Definitions are numbered as by Schaeffer et al. 2025, "Position: Model Collapse Does Not Mean What You Think".
    """

    folder: ClassVar[str] = "collapse_ray.search.verdicts"

    definition: ClassVar[int]
    """Its number, 1 to 8."""
    first_look: ClassVar[int] = 2
    """The first generation at which it can be decided."""

    image: Signal | None = None
    """What decides for images."""
    tokens: Signal | None = None
    """What decides for tokens."""
    vector: Signal | None = None
    """What decides for vectors."""

    def signal(self, payload: PayloadKind) -> Signal | None:
        """What decides for a kind of payload."""
        signals: dict[PayloadKind, Signal | None] = {
            "image": self.image,
            "tokens": self.tokens,
            "vector": self.vector,
        }
        return signals[payload]

    def criteria(self, signal: Signal, generations: np.ndarray) -> tuple[Criterion, ...]:
        """What is compared, all of which must be worse for collapse; unless overridden, each generation with the first.

        Args:
            signal: of the payload at hand.
            generations: (T,) ascending, from 1 on.
        """
        return (Criterion("change since generation 1", since_first(generations), *signal.limits),)


def since_first(generations: np.ndarray) -> np.ndarray:
    """Weights (T, T) of each generation minus the first."""
    weights = np.eye(len(generations))
    weights[:, 0] -= 1
    return weights


@dataclass(frozen=True)
class Evidence:
    """The numbers of one criterion at the look that decided, or at the latest one where none did.

    `first` and `value` are means over replicates, at generation 1 and at `generation`. `change`, `low` and `high` are
    on the signal's scale: at this look each bound is on the wrong side of the truth with a probability of at most the
    level spent on it, and over all looks of the lineage with at most the false alarm rate. They are None where no
    error is known.
    """

    criterion: str
    metric: str
    scale: str
    generation: int
    first: float
    value: float
    change: float
    low: float | None
    high: float | None
    tolerance: float
    threshold: float
    num_replicates: int
    noise: str
    """Where the error comes from: `replicates`, `sampling`, `replicates, sampling`, `given`, `given, sampling`, or
    `unknown`. With `sampling` alone, what differs between seeds is not covered."""


@dataclass(frozen=True)
class Verdict:
    """One definition of collapse, decided from a series.

    `generation` is the one at which the status was decided: for collapsing and collapsed the first such, and the
    status stays; for healthy the first of the unbroken sequence up to now; None where nothing is decided.
    `alarm_generation` is the first one that was collapsing or collapsed. `confidence` is 1 minus the always-valid
    p-value of what the status denies, 1 for values that are not finite, None where nothing is decided.
    """

    kind: str
    definition: int
    status: Status
    reason: str
    generation: int | None = None
    alarm_generation: int | None = None
    confidence: float | None = None
    evidence: tuple[Evidence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
