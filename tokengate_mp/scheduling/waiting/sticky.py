"""Sticky pins: tokens of one key run on one core, for as long as any of them has not ended.

The first token of a key is placed like any other, and the key is *pinned* to the core that it is
sent to. Those that come meanwhile wait behind it, and then, as all later ones, for that core alone.

A key counts its tokens. Each leaves once, when it ends, however that happens, and with the last one
the pin goes; or, where it is to be kept, so much later. Nobody watches the clock for that: whether
a pin's time is up is asked when the next token of its key comes, or when pins are counted.

A pin is to a core, not to the process that serves it: when that dies the tokens wait for the next
one. Only a core that is given up loses its pins; the first token of each key that waited for it is
then placed anew, and the others follow it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from heapq import heappop, heappush

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores
from tokengate_mp.scheduling.waiting.lane import waiting


class Pin:
    """A key, and the core that its tokens are sent to.

    Attributes:
        key: The key.
        core: The core it is pinned to; None until its first token has been sent to one.
        members: Its tokens that have not ended, by number, in the order in which they joined.
        behind: Tokens that wait for the first to be sent, some of which may have ended.
        keep: How long it is kept after its last token, ns.
        expires: When the pin goes, ns, unless a token comes before; None while there are any.
        listed: Whether the registry has it on its list of pins to expire.
    """

    __slots__ = ("behind", "core", "expires", "keep", "key", "listed", "members")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.core: int | None = None
        # Ordered: its first entry is found at once, however many were removed before.
        self.members: OrderedDict[int, Ticket] = OrderedDict()
        self.behind: deque[Ticket] = deque()
        self.keep = 0
        self.expires: int | None = None
        self.listed = False


class Sticky:
    """The registry of all keys.

    Attributes:
        pins: By key: pins that have tokens, and pins that are kept without any.
        members: The pin of each token that has one and has not ended, by the token's number.
        unplaced: The keys without a core, by the number of the token whose core they will get.
        leaving: Pins without tokens that are kept: from the time of the next `expire_pins` on.
    """

    __slots__ = ("_listed", "_sequence", "leaving", "members", "pins", "unplaced")

    def __init__(self) -> None:
        self.pins: dict[bytes, Pin] = {}
        self.members: dict[int, Pin] = {}
        self.unplaced: dict[int, Pin] = {}
        self.leaving: list[Pin] = []
        self._listed: list[tuple[int, int, Pin]] = []
        self._sequence = 0

    def __len__(self) -> int:
        """How many keys are pinned to a core."""
        return max(0, len(self.pins) - len(self.unplaced))  # any thread may ask, in between

    def join_key(self, ticket: Ticket, key: bytes, keep: int) -> Pin:
        """Count a token for its key, and give the pin.

        Args:
            ticket: The token.
            key: The key.
            keep: How long the pin is to be kept after the last token at the least, ns.
        """
        pin = self.pins.get(key)
        if pin is None:
            pin = self.pins[key] = Pin(key)
            self.unplaced[ticket.number] = pin
        pin.members[ticket.number] = ticket
        pin.keep = max(pin.keep, keep)
        pin.expires = None
        self.members[ticket.number] = pin
        return pin

    def leave_key(self, number: int) -> Pin | None:
        """Count an ended token off its key, and give the pin; None: no key, or counted off."""
        pin = self.members.pop(number, None)
        if pin is not None:
            del pin.members[number]
            if not pin.members:
                self.unplaced.pop(number, None)
                if pin.core is not None and pin.keep:
                    self.leaving.append(pin)
                else:
                    del self.pins[pin.key]
        return pin

    def unpin_cores(self, gone: Cores) -> list[Pin]:
        """Free the keys of cores that will never be ready again, and give the pins with tokens."""
        unpinned: list[Pin] = []
        for pin in list(self.pins.values()):
            if pin.core is not None and gone >> pin.core & 1:
                pin.core = None
                if pin.members:
                    unpinned.append(pin)
                else:
                    del self.pins[pin.key]
        return unpinned

    def drop_pin(self, pin: Pin) -> None:
        """Count the tokens of a key for that no more; the next token of the key is the first."""
        for number in pin.members:
            del self.members[number]
        pin.members.clear()
        del self.pins[pin.key]

    def all_behind(self) -> Iterator[Ticket]:
        """Tokens that wait for the first token of their key to be sent."""
        for pin in self.unplaced.values():
            yield from waiting(pin.behind)

    def expire_pins(self, now: int) -> None:
        """Drop the pins whose time is up at `now`, ns."""
        listed = self._listed
        for pin in self.leaving:
            if not pin.members and self.pins.get(pin.key) is pin:
                pin.expires = now + pin.keep
                self._list(pin)
        self.leaving.clear()
        while listed and listed[0][0] <= now:
            pin = heappop(listed)[2]
            pin.listed = False
            if pin.expires is None or self.pins.get(pin.key) is not pin:
                continue
            if pin.expires > now:
                self._list(pin)
            else:
                del self.pins[pin.key]

    def _list(self, pin: Pin) -> None:
        # Once at the most, however often its time begins anew.
        if not pin.listed and pin.expires is not None:
            pin.listed = True
            self._sequence += 1
            heappush(self._listed, (pin.expires, self._sequence, pin))

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        counted = dict.fromkeys(self.pins, 0)
        for number, pin in self.members.items():
            assert self.pins.get(pin.key) is pin, f"a token of {pin.key!r}, which is not there"
            assert number in pin.members, f"{number} is not one of {pin.key!r}"
            counted[pin.key] += 1
        for key, pin in self.pins.items():
            count = len(pin.members)
            assert count == counted[key], f"{key!r} has {counted[key]}, not {count}"
            assert pin.members or pin.keep, f"{key!r} has no tokens, and is not kept"
            assert pin.members or pin.core is not None, f"{key!r} is kept, without a core"
            assert pin.core is None or not pin.behind, f"{key!r} is pinned, and tokens lag behind"
        unplaced = [pin.key for pin in self.pins.values() if pin.core is None]
        assert sorted(unplaced) == sorted(pin.key for pin in self.unplaced.values()), "unplaced"
        for number, pin in self.unplaced.items():
            assert self.members.get(number) is pin, f"{number} gets no core for {pin.key!r}"
