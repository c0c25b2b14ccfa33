"""Distribution-free bounds on the p-value of a tag's mean activation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moments import Moments


def shift_bounds(moments: Moments) -> Float[Tensor, "tags neurons"]:
    """Upper bounds on the two-sided p-value of a tag's mean under permutation of the tags.

    Bennett's inequality: the mean of n draws with variance v, none above the mean by more than R,
    exceeds the mean by a with probability at most ``exp(-n v / R^2 h(R a / v))``, ``h(u) = (1 + u)
    ln(1 + u) - u`` (Bennett 1962, JASA 57:33); this also holds for draws without replacement
    (Hoeffding 1963, JASA 58:13). Both the words of a tag and the remaining words are such draws
    from all words; the smaller bound is used. Textbook tests assume normal means, but activations
    have outliers, and a rare tag with one outlier by chance would be significant. The bound of a
    constant neuron is 1.
    """
    assert moments.low is not None
    assert moments.high is not None
    mean = moments.sums.sum(dim=0) / moments.n_words
    variance = moments.total_squares() / moments.n_words
    above, below = moments.high - mean, mean - moments.low
    excess = moments.difference().abs() * moments.of_rest / moments.n_words  # mean of the tag minus mean of all words
    lack = excess * moments.of_tag / moments.of_rest  # mean of all words minus mean of the rest

    def bound(n: Tensor, shift: Tensor, reach: Tensor) -> Tensor:
        steps = reach * shift / variance
        return (-n * variance / reach.square() * ((1 + steps) * steps.log1p() - steps)).exp()

    upwards = bound(moments.of_tag, excess, above).minimum(bound(moments.of_rest, lack, below))
    downwards = bound(moments.of_tag, excess, below).minimum(bound(moments.of_rest, lack, above))
    return (upwards + downwards).clamp(max=1).masked_fill(moments.constant, 1.0)
