"""The rule by which shards are shared out: a game of members that look at moments of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw.redis.fair_share import MAX_GIVEN, Table, moves_of, shares_of


class Game:
    """Members, leases, and what each does when it looks."""

    def __init__(self, shard_count, members=()):
        self.shard_count = shard_count
        self.members = set(members)
        self.owners = {}
        self.handed_over = 0

    def table(self, **facts):
        return Table(frozenset(self.members), dict(self.owners), self.shard_count, **facts)

    def running(self, member):
        return {shard for shard, owner in self.owners.items() if owner == member}

    def act(self, member, table):
        """Let one member act upon a table that may be old; the lease decides."""
        running = self.running(member)
        moves = moves_of(table, member, running=running, movable=running)
        for shard in moves.give:
            if self.owners.get(shard) == member:
                del self.owners[shard]
                self.handed_over += 1
        for shard in moves.take:
            self.owners.setdefault(shard, member)
        return moves

    def settle(self):
        """Let all look in turn until nobody does anything."""
        for _ in range(4 * self.shard_count + 4):
            moves = [self.act(member, self.table()) for member in sorted(self.members)]
            if not any(one.give or one.take for one in moves):
                return
        raise AssertionError("they do not come to rest")

    def counts(self):
        return sorted(len(self.running(member)) for member in self.members)


NAMES = st.sampled_from("abcdefg")
GAMES = st.tuples(st.integers(1, 24), st.sets(NAMES, min_size=1, max_size=5))


@given(GAMES)
def test_each_gets_its_part(game):
    """All shards, and no two members differ by more than one."""
    one = Game(*game)
    one.settle()
    assert sum(one.counts()) == one.shard_count
    assert one.counts()[-1] - one.counts()[0] <= 1


@given(GAMES, st.data())
def test_whatever_happens_they_come_to_rest(game, data):
    """Members come, go and die, and act upon tables that are old; then each has its part."""
    one = Game(*game)
    old = [one.table()]
    for step in data.draw(st.lists(st.sampled_from(["join", "end", "die", "look"]), max_size=30)):
        name = data.draw(NAMES)
        if step == "join":
            one.members.add(name)
        elif step == "look":
            table = data.draw(st.sampled_from(old))
            if name in one.members & table.members:
                one.act(name, table)
        elif len(one.members) > 1:
            one.members.discard(name)
            if step == "end":  # else its leases stay for a while
                one.owners = {s: o for s, o in one.owners.items() if o != name}
        old = [*old[-3:], one.table()]
    one.owners = {s: o for s, o in one.owners.items() if o in one.members}  # they run out
    one.settle()
    assert sum(one.counts()) == one.shard_count
    assert one.counts()[-1] - one.counts()[0] <= 1


@given(GAMES)
def test_a_new_member_gets_no_more_than_its_part(game):
    """That many change hands, and none twice."""
    one = Game(*game)
    one.settle()
    one.handed_over = 0
    one.members.add("new")
    one.settle()
    assert one.handed_over == len(one.running("new"))


@given(GAMES)
def test_of_one_that_is_gone_only_its_own_move(game):
    """The others give up nothing."""
    one = Game(*game)
    one.settle()
    one.handed_over = 0
    name = max(one.members)
    one.members.discard(name)
    one.owners = {s: o for s, o in one.owners.items() if o != name}
    if one.members:
        one.settle()
    assert one.handed_over == 0


@given(GAMES, st.dictionaries(st.integers(0, 23), NAMES))
def test_members_that_see_the_same_take_different_shards(game, owners):
    """And only free ones, or their own."""
    count, members = game
    table = Table(members, {s: o for s, o in owners.items() if s < count}, count)
    taken = []
    for member in members:
        moves = moves_of(table, member, running=(), movable=())
        taken += moves.take
        assert all(table.owners.get(shard, member) == member for shard in moves.take)
    assert len(taken) == len(set(taken))


@given(GAMES, st.dictionaries(st.integers(0, 23), NAMES))
def test_a_share_counts_what_there_is_to_share(game, owners):
    """Shards that somebody else has a lease on are nobody's part."""
    count, members = game
    table = Table(members, {s: o for s, o in owners.items() if s < count}, count)
    others = sum(owner not in members for owner in table.owners.values())
    assert sum(shares_of(table).values()) == count - others


def test_a_few_are_given_at_a_time():
    """The highest first; and none that cannot be moved now."""
    owners = dict.fromkeys(range(20), "a")
    moves = moves_of(Table("ab", owners, 20), "a", running=owners, movable=range(20))
    assert moves.give == (19, 18, 17, 16)
    assert len(moves.give) == MAX_GIVEN
    moves = moves_of(Table("ab", owners, 20), "a", running=owners, movable=(3, 5))
    assert moves.give == (5, 3)


def test_nothing_free_is_taken_from_a_server_that_lost_its_memory():
    """Who has a shard has not said so yet; one's own come back."""
    table = Table("a", {0: "a"}, 4, is_quiet=True)
    assert moves_of(table, "a", running=(), movable=()).take == (0,)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_more_members_than_shards(count):
    """Some have none, and stand by."""
    one = Game(count, "abc")
    one.settle()
    assert one.counts() == [0] * (3 - count) + [1] * count
