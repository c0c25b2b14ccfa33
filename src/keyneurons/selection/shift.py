"""How improbable the mean of a tag's words is, whatever the distribution of an activation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moments import Moments


def shift_bounds(moments: Moments) -> Float[Tensor, "tags neurons"]:
    """Upper bounds on the p-value of a tag's mean under any reordering of the tags, two-sided.

    Bennett's inequality: n draws with variance v and none further than R above the mean m exceed it on average by a
    with a probability of at most ``exp(-n v / R^2 h(R a / v))``, ``h(u) = (1 + u) ln(1 + u) - u`` (Bennett 1962, JASA
    57:33); for draws without replacement as well (Hoeffding 1963, JASA 58:13). The words of a tag are such draws from
    all words, and so are the rest: the better of the two counts. Textbook tests take means for normal; activations
    have outliers, and a rare tag that holds one by chance then passes for marked. A constant neuron has 1.
    """
    mean = moments.sums.sum(dim=0) / moments.n_words
    variance = moments.total_squares() / moments.n_words
    above, below = moments.high - mean, mean - moments.low
    excess = moments.difference().abs() * moments.of_rest / moments.n_words  # of the tag's mean over that of all words
    lack = excess * moments.of_tag / moments.of_rest  # of the rest's mean then

    def bound(n: Tensor, shift: Tensor, reach: Tensor) -> Tensor:
        steps = reach * shift / variance
        return (-n * variance / reach.square() * ((1 + steps) * steps.log1p() - steps)).exp()

    upwards = bound(moments.of_tag, excess, above).minimum(bound(moments.of_rest, lack, below))
    downwards = bound(moments.of_tag, excess, below).minimum(bound(moments.of_rest, lack, above))
    return (upwards + downwards).clamp(max=1).masked_fill(moments.constant, 1.0)
