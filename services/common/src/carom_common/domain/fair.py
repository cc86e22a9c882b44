"""Smooth weighted round robin: who goes next among queues that have something waiting."""

from collections.abc import Iterable, Mapping


class WeightedTurns:
    """Turns in proportion to the weights, spread evenly; a queue that is empty takes no turn and saves none up."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0)

    def pick(self, candidates: Iterable[str]) -> str:
        """The next of the candidates (at least one)."""
        names = list(candidates)
        if len(names) == 1:
            return names[0]
        total = 0
        for name in names:
            self._credit[name] += self._weights[name]
            total += self._weights[name]
        chosen = max(names, key=self._credit.__getitem__)
        self._credit[chosen] -= total
        return chosen
