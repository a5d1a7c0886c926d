"""A chain of tags whose neighbours depend on each other: a linear-chain conditional random field.

Lafferty, McCallum and Pereira (2001); over the outputs of a network as in Lample et al. (2016,
arXiv 1603.01360). The score of a sequence of tags is the sum of its tokens' scores, of the scores
of its transitions, and of those of its first and last tag.

Shapes: B examples, L tokens, C tags. `scores` are `[B, L, C]`, `mask` is `[B, L]` with content
first, `transitions` `[C, C]` from row to column, `ends` `[2, C]` of first and last tags.
"""

import torch
from torch import Tensor


def log_partition(scores: Tensor, mask: Tensor, transitions: Tensor, ends: Tensor) -> Tensor:
    """The logarithm of the sum over all sequences of the exponential of their score, `[B]`.

    The forward algorithm, in L steps. A score of minus infinity rules a tag out at its token; every
    token needs one that is possible. An example without tokens gives the sum over its ends.
    """
    alpha = ends[0] + scores.new_zeros(len(scores), 1)
    for place in range(scores.shape[1]):
        here = mask[:, place, None]
        if place == 0:
            alpha = torch.where(here, alpha + scores[:, 0], alpha)
        else:
            reached = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[:, place]
            alpha = torch.where(here, reached, alpha)
    return torch.logsumexp(alpha + ends[1], 1)


def negative_log_likelihood(
    scores: Tensor, mask: Tensor, transitions: Tensor, ends: Tensor, target: Tensor
) -> Tensor:
    """Minus the log-probability of the known tags, summed over unknown ones, `[B]`.

    Args:
        scores: Of each tag at each token.
        mask: Where there are tokens.
        transitions: Between neighbours.
        ends: Of first and last tags.
        target: `[B, L]`, negative where a tag is unknown: any tag can stand there.
    """
    tags = torch.arange(scores.shape[2], device=scores.device)
    possible = (target[:, :, None] == tags) | (target < 0)[:, :, None]
    known = log_partition(scores.masked_fill(~possible, float("-inf")), mask, transitions, ends)
    return log_partition(scores, mask, transitions, ends) - known


def best_tags(scores: Tensor, mask: Tensor, transitions: Tensor, ends: Tensor) -> Tensor:
    """The sequence with the greatest score (Viterbi 1967), `[B, L]`; what lies past the end is any.

    Of equal scores the tag with the lowest number is taken, from the last token backwards.
    """
    best, came_from = ends[0] + scores[:, 0], []
    for place in range(1, scores.shape[1]):
        reached, origin = (best[:, :, None] + transitions).max(1)
        here = mask[:, place, None]
        stays = torch.arange(scores.shape[2], device=scores.device).expand_as(origin)
        came_from.append(torch.where(here, origin, stays))
        best = torch.where(here, reached + scores[:, place], best)
    tags = [(best + ends[1]).argmax(1)]
    for origin in reversed(came_from):
        tags.append(origin.gather(1, tags[-1][:, None]).squeeze(1))
    return torch.stack(tags[::-1], 1)
