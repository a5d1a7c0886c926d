"""Labels whose words have an order: `low`, `medium`, `high`, or `Stage I` to `Stage IV`."""

import re
from collections.abc import Sequence

# From one end to the other; of words with a stroke between them each stands for that place.
_SCALES = (
    "none|no|absent|nil, minimal|trace|very mild, mild|slight, moderate, severe|marked, "
    "very severe|profound|extreme|critical",
    "none|no|zero, very low|lowest, low, below average|medium low|low medium, "
    "medium|moderate|average|normal|mid|middle, above average|medium high, "
    "high|elevated, very high|highest|extreme",
    "tiny|xs|extra small|very small, small|s, medium|m, large|l|big, xl|extra large|very large|"
    "huge, xxl, xxxl",
    "terrible|awful|very bad|very poor, bad|poor, fair|acceptable|average|okay|ok|neutral, good, "
    "very good, excellent|outstanding",
    "fair, good, very good, premium, ideal",
    "very negative, negative, neutral, positive, very positive",
    "never, rarely|seldom|almost never, sometimes|occasionally, often|frequently|usually, "
    "very often|almost always|very frequently, always",
    "strongly disagree, disagree, slightly disagree|somewhat disagree, "
    "neutral|undecided|neither agree nor disagree, slightly agree|somewhat agree, agree, "
    "strongly agree",
    "very dissatisfied, dissatisfied, neutral|neither satisfied nor dissatisfied, satisfied, "
    "very satisfied",
    "very unlikely, unlikely, neutral|possible, likely, very likely",
    "beginner|novice|basic, intermediate, advanced, expert",
    "a1, a2, b1, b2, c1, c2",
    "infant|baby, toddler, child, teen|teenager|adolescent, young|young adult, "
    "adult|middle|middle aged, senior|elderly|old",
    "child|children, teens|teen, twenties, thirties, forties|fourties, fifties, sixties, "
    "seventies, eighties, nineties",
    "freezing|very cold, cold, cool, mild, warm, hot, very hot",
    "very slow, slow, medium|moderate, fast, very fast",
    "very short, short, medium|average, long|tall, very long|very tall",
    "some high school, high school|high school graduate, some college, "
    "associate|associates|associate degree, bachelor|bachelors|bachelor degree, "
    "master|masters|master degree, doctorate|doctoral|phd|doctorate degree",
)
_PLACES = tuple(
    {word: place for place, words in enumerate(scale.split(", ")) for word in words.split("|")}
    for scale in _SCALES
)
_NUMBERED = re.compile(
    r"(?:([a-z]+)(?:[ .]?(?=\d)|[ .](?=[ivx])))?(?:(\d{1,2})|([ivx]{1,4}))([a-d]?)"
)
_ROMAN = {"i": 1, "v": 5, "x": 10}
_NUMBERED_WORDS = ("stage", "grade", "level", "tier", "degree", "rank", "star")


def words_in_order(names: Sequence[str], graded: bool = False) -> list[str] | None:
    """Labels that are words of one scale, from one end to the other; None if they are not.

    Which end is the first does not matter to a task with an order. Fewer than three labels have
    none, and neither have labels of which two stand for the same place.

    Args:
        names: The labels.
        graded: Whether the column's name says that its labels grade something; then numbers such
            as `II` and single letters from `A` to `F` have an order without a word before them.
    """
    if len(names) < 3:
        return None
    read = [_plain(name) for name in names]
    for scale in _PLACES:
        places = [scale.get(word) for word in read]
        ordered = _sorted(names, places)
        if ordered is not None:
            return ordered
    if graded and all(re.fullmatch("[a-f]", word) for word in read):
        return _sorted(names, [ord(word) for word in read])
    return _numbered(names, read, graded)


def _plain(name: str) -> str:
    text = re.sub(r"['’]s\b", "", name.strip().lower())
    return re.sub(r"[\s_-]+", " ", text)


def _sorted(names: Sequence[str], places: Sequence[int | None]) -> list[str] | None:
    """Names by their places; None if a place is unknown, or there twice."""
    known = {place: name for place, name in zip(places, names, strict=True) if place is not None}
    return [known[place] for place in sorted(known)] if len(known) == len(names) else None


def _numbered(names: Sequence[str], read: Sequence[str], graded: bool) -> list[str] | None:
    """Names that are one word and a number, such as `grade 3` or `Stage IIB`."""
    found = [_NUMBERED.fullmatch(word) for word in read]
    matches = [match for match in found if match is not None]
    words = {match[1] for match in matches}
    if len(matches) < len(read) or len(words) > 1:
        return None
    [word] = words
    if not (graded or word in _NUMBERED_WORDS):
        return None
    places = [
        100 * (int(match[2]) if match[2] else _roman(match[3])) + (ord(match[4]) if match[4] else 0)
        for match in matches
    ]
    return _sorted(names, places)


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))
