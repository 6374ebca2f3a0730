"""One of several shares of the cases."""

import hashlib
import re
from dataclasses import dataclass

from htcnns.errors import SettingsError


@dataclass(frozen=True)
class Shard:
    """A share of the cases: the name of a case alone decides in which of n shards it is, whatever else is there.

    Attributes:
        index: number of the shard, 0 to n - 1.
        n: number of shards.

    Raises:
        SettingsError: index out of range.
    """

    index: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.n:
            raise SettingsError(
                "no such shard",
                setting="shard",
                found=str(self),
                expected="i/n with i from 0 up to n - 1",
                remedy="Count from 0: 0/4, 1/4, 2/4 and 3/4 are all of four.",
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.n}"

    def holds(self, case_name: str) -> bool:
        """Whether the case of that name is in this shard."""
        digest = hashlib.sha256(case_name.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.n == self.index

    @classmethod
    def of_text(cls, text: str) -> "Shard":
        """The shard that a text such as "0/4" names; raises SettingsError if it names none."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if not found:
            raise SettingsError(
                "not a shard",
                setting="shard",
                found=repr(text),
                expected="i/n with i from 0 up to n - 1",
                remedy="Name one, such as 0/4 for the first of four.",
            )
        return cls(int(found[1]), int(found[2]))
