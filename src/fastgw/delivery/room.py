"""What a policy drops so that one more event may wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .ledger import Delivery
    from .pressure import Pressure

__all__ = ["oldest_in_the_way"]


def oldest_in_the_way(
    waiting: Iterable[Delivery], too_many: int, delivery: Delivery, pressure: Pressure
) -> Collection[Delivery] | None:
    """
    Return which of those waiting go for one more, the oldest that help; None: it has to go itself.

    Where the mark of its shard is reached, those of other shards free nothing. Where even all of
    them would not do, none goes for nothing.

    Args:
        waiting: of the same party, the oldest first.
        too_many: how many there would be above its bound.
    """
    ledger = delivery.ledger
    of_shard, of_all = (0, 0) if ledger is None else pressure.excess(ledger, delivery.size)
    going: list[Delivery] = []
    if max(too_many, of_shard, of_all) <= 0:
        return going
    for one in waiting:
        is_of_shard = one.ledger is ledger
        if max(too_many, of_all, of_shard if is_of_shard else 0) > 0:
            going.append(one)
            too_many -= 1
            of_all -= one.size
            of_shard -= one.size if is_of_shard else 0
            if max(too_many, of_shard, of_all) <= 0:
                return going
    return None
