"""Draw docs/states.md from the transition table: `python docs/make_states.py` after a change."""

from __future__ import annotations

from pathlib import Path

from fastgw.protocol.states import TRANSITIONS, State, Trigger

TARGET = Path(__file__).with_name("states.md")

_HEAD = """\
# The states of a shard

Drawn by `docs/make_states.py` from `TRANSITIONS` in `src/fastgw/protocol/states.py`; a move that is
not in the table raises. What each trigger means stands beside the table.

"""


def diagram() -> str:
    """Return the table as a mermaid state diagram; moves of several triggers share one arrow."""
    arrows: dict[tuple[State, State], list[Trigger]] = {}
    for (state, trigger), new in TRANSITIONS.items():
        arrows.setdefault((state, new), []).append(trigger)
    lines = ["stateDiagram-v2", f"    [*] --> {_id(State.DISCONNECTED)}"]
    lines += [f'    state "{state.value}" as {_id(state)}' for state in State]
    lines += [
        f"    {_id(state)} --> {_id(new)}: {', '.join(trigger.value for trigger in triggers)}"
        for (state, new), triggers in arrows.items()
    ]
    lines.append(f"    {_id(State.STOPPED)} --> [*]")
    return "\n".join(lines)


def table() -> str:
    """Return the same as a table, one row a state, one column a trigger."""
    triggers = list(Trigger)
    rows = [["state", *(trigger.value for trigger in triggers)], ["---"] * (len(triggers) + 1)]
    for state in State:
        moves = [TRANSITIONS.get((state, trigger)) for trigger in triggers]
        rows.append([state.value, *("" if new is None else new.value for new in moves)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page() -> str:
    """Return the whole of docs/states.md."""
    return f"{_HEAD}```mermaid\n{diagram()}\n```\n\n{table()}\n"


def _id(state: State) -> str:
    return state.name.lower()


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
