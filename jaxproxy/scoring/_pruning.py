"""Pruning by the scores of scorers."""

from collections.abc import Sequence

import numpy as np

from jaxproxy.scoring._scorer import Scorer
from jaxproxy.search import PruningTrace, prune, pruning


def prune_live(
    scorers: Sequence[Scorer], choices: Sequence[int], *, digits: int | None = 3
) -> PruningTrace:
    """Returns what a pruning leaves whose masks are scored by scorers of supernets.

    All proxies of all scorers count alike. A round is one call of each scorer, and a
    repeat is a seed. Scores that are not valid are no scores: see :func:`pruning`.
    :meth:`Scorer.reseeded` repeats the pruning with other weights and inputs.

    Args:
      scorers: of spaces whose codes are masks, a gene for each value of each of the G
        genes of the space that is searched, such as ``nasbench201_supernet``.
      choices: how many values each of them has, such as ``(4,) * 6``.
      digits: see :func:`~jaxproxy.search.pruning`.

    Raises:
      ValueError: no scorers, spaces with other genes, unlike numbers of seeds, or
        proxies that are counted.
    """
    _check(scorers, choices)
    proxies = [proxy for scorer in scorers for proxy in scorer.proxies]
    better = [proxy.higher_is_better for proxy in proxies]
    search = pruning(choices, higher_is_better=better, digits=digits)
    exists = search.init().mask

    def score(masks: np.ndarray) -> np.ndarray:
        codes = masks[:, exists].astype(np.int32)
        columns = []
        for scorer in scorers:
            block = scorer.score(codes)
            columns += [
                np.where(block.valid[p.name], block.scores[p.name], np.nan)
                for p in scorer.proxies
            ]
        return np.stack(columns, axis=1)

    return prune(search, score)


def _check(scorers: Sequence[Scorer], choices: Sequence[int]) -> None:
    if not scorers:
        raise ValueError("give at least one scorer")
    seeds = {len(scorer.seeds) for scorer in scorers}
    if len(seeds) > 1:
        raise ValueError(f"scorers have one number of seeds, not {sorted(seeds)}")
    for scorer in scorers:
        if scorer.space.choices != (2,) * sum(choices):
            raise ValueError(
                f"masks of choices {list(choices)} are {sum(choices)} genes of two "
                f"values, which codes of {scorer.space.name} are not"
            )
        counted = [proxy.name for proxy in scorer.proxies if proxy.count is not None]
        if counted:
            raise ValueError(f"{counted[0]} is counted; give proxies that are scored")
