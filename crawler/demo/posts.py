"""The replica's posts and their authors: plain data, each the same for the same seed and number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from crawler.demo.chance import seeded
from crawler.demo.stories import Story, nicknames, tell

POSTS_PER_PAGE = 25
PAGES = 13
POSTS = POSTS_PER_PAGE * PAGES
USERS = 160

FIRST_POST_ID = 123_000_217
FIRST_USER_ID = 20_000_449
_POST_STEP, _USER_STEP = 1_901, 150_011


@dataclass(frozen=True, slots=True)
class User:
    """Who writes posts and comments."""

    id: int
    name: str
    gender: str
    """`man` or `women`, the site's own words."""
    age: int
    avatar: str
    """Path of the picture."""


@dataclass(frozen=True, slots=True)
class Comment:
    """The comment that readers liked best."""

    author: str
    text: str
    likes: int


@dataclass(frozen=True, slots=True)
class Post:
    """One funny story and what readers made of it."""

    id: int
    author: User | None
    """None is anonymous."""
    text: str
    """Paragraphs are lines."""
    up: int
    down: int
    """Zero or negative."""
    comments: int
    god_comment: Comment | None
    written: str


@lru_cache(maxsize=POSTS)
def post(seed: int, number: int) -> Post:
    """Post `number`, 0 to POSTS - 1, in the order of the pages."""
    chance = seeded("post", seed, number)
    episodes = chance.choices((1, 2, 3), (56, 32, 12))[0]
    story = tell(number * 11 + seed, chance, episodes=episodes)
    anonymous = chance.random() < 0.05
    author = user(seed, chance.randrange(USERS))
    up = int(chance.lognormvariate(6.5, 0.7)) + 20
    return Post(
        id=_post_ids(seed)[number],
        author=None if anonymous else author,
        text=story.text,
        up=up,
        down=-min(int(chance.expovariate(0.12)), up // 4),
        comments=1 + int(up * chance.uniform(0.01, 0.08)),
        god_comment=_god_comment(seed, story, up, chance),
        written=f"2022-{chance.randint(1, 11):02}-{chance.randint(1, 28):02}"
        f" {chance.randint(0, 23):02}:{chance.randint(0, 59):02}",
    )


def find_post(seed: int, post_id: int) -> int | None:
    """The number of the post with that id."""
    ids = _post_ids(seed)
    return ids.index(post_id) if post_id in ids else None


@lru_cache(maxsize=USERS)
def user(seed: int, number: int) -> User:
    """User `number`, 0 to USERS - 1."""
    chance = seeded("user", seed, number)
    user_id = FIRST_USER_ID + number * _USER_STEP
    day = f"20{chance.randint(15, 22)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    return User(
        id=user_id,
        name=nicknames(seed)[number],
        gender=chance.choice(("man", "women")),
        # Many never set their age: 20 and 30 stand out on the real site, 0 and 99 occur.
        age=chance.choice((20, 20, 30, 0, 99, *range(18, 46))),
        avatar=f"/system/avtnew/{user_id // 10_000}/{user_id}/thumb/{day}.png",
    )


def find_user(seed: int, user_id: int) -> User | None:
    """The user with that id."""
    number, rest = divmod(user_id - FIRST_USER_ID, _USER_STEP)
    return user(seed, number) if not rest and 0 <= number < USERS else None


def _god_comment(seed: int, story: Story, up: int, chance: Random) -> Comment | None:
    if chance.random() < 0.04:
        return None
    author = user(seed, chance.randrange(USERS))
    return Comment(author.name, story.comment, 1 + int(up * chance.uniform(0.01, 0.1)))


@lru_cache(maxsize=8)
def _post_ids(seed: int) -> tuple[int, ...]:
    """The posts' ids; the same for every seed, in another order."""
    ids = [
        FIRST_POST_ID + block * _POST_STEP + block * block % _POST_STEP for block in range(POSTS)
    ]
    seeded("order", seed).shuffle(ids)
    return tuple(ids)
