"""Send attacks, a few at a time, and count what came back."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.fuzz.answers import Answer, Attack, answer_to, fault_of
from tests.fuzz.attacked import Gateway
from tests.fuzz.bad_pictures import hostile_picture
from tests.fuzz.hostile import Pool, hostile_request

CLIENTS = 4


class Tally:
    """How often which status came back, and what was wrong, with the attack that it was the answer to."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def add(self, attack: Attack, answer: Answer | None, fault: str | None) -> None:
        with self._lock:
            self.statuses["closed" if answer is None else str(answer.status)] += 1
            if fault:
                self.faults.append(f"{attack!r} {fault}: {answer.body[:500] if answer else None!r}")

    def __str__(self) -> str:
        return ", ".join(f"{count} × {status}" for status, count in sorted(self.statuses.items()))


def send_hostile(gateway: Gateway, count: int, seed: int) -> Tally:
    """`count` hostile requests, which refer to what earlier ones have made."""
    jobs: Pool = []
    uploads: Pool = []

    def remember(answer: Answer) -> None:
        if answer.status in {201, 202} and answer.headers.get("location"):
            path, _, name = answer.headers["location"].rpartition("/")
            (jobs if path == "/jobs" else uploads).append(name)

    attacks = (hostile_request(random.Random(f"{seed}/{number}"), jobs, uploads) for number in range(count))
    return send(gateway, attacks, remember)


def send_pictures(gateway: Gateway, count: int, seed: int) -> Tally:
    """`count` corrupt or hostile pictures."""
    return send(gateway, (hostile_picture(random.Random(f"{seed}/{number}")) for number in range(count)))


def send(gateway: Gateway, attacks: Iterable[Attack], remember: Callable[[Answer], None] = lambda _: None) -> Tally:
    """Send all of them; an attack is made when its turn comes."""
    tally, turn, left = Tally(), threading.Lock(), iter(attacks)

    def client() -> None:
        while True:
            with turn:
                attack = next(left, None)
            if attack is None:
                return
            try:
                answer = answer_to(gateway, attack)
                tally.add(attack, answer, fault_of(gateway, attack, answer) if answer else None)
            except TimeoutError:
                answer = None
                tally.add(attack, None, "gets no answer" if attack.ends else None)
            if answer:
                remember(answer)

    with ThreadPoolExecutor(CLIENTS) as clients:
        for done in [clients.submit(client) for _ in range(CLIENTS)]:
            done.result()
    return tally
