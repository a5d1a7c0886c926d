"""The 61 phone symbols of TIMIT, their 10 broad classes by manner of articulation, and the 39.

Manner is what a frame of 20 ms can show. The groups are those of Halberstadt and Glass (1997;
Halberstadt's thesis, 1998), who divide phones into stops, weak fricatives, strong fricatives with
the affricates, nasals with the flaps, closures with silence, and vowels with semivowels. Each of
the pairs is taken apart here, which makes ten classes: silence, closure, stop, flap, weak
fricative, strong fricative, affricate, nasal, semivowel, vowel. Reynolds and Antoniou (2003) also
keep closures and semivowels by themselves.

Variants go where Lee and Hon (1989) fold them: `hv` with `hh`, `el` with `l`, `em`, `en`, `eng`
with the nasals, `ix`, `ux`, `ax`, `ax-h`, `axr` with the vowels. The nasal flap `nx` is a flap. The
glottal stop `q`, which they leave out, is a stop, so that every symbol has a class.
"""

from collections.abc import Iterable

BROAD_CLASSES: dict[str, tuple[str, ...]] = {
    "silence": ("h#", "pau", "epi"),
    "closure": ("bcl", "dcl", "gcl", "pcl", "tcl", "kcl"),
    "stop": ("b", "d", "g", "p", "t", "k", "q"),
    "flap": ("dx", "nx"),
    "weak fricative": ("f", "v", "th", "dh", "hh", "hv"),
    "strong fricative": ("s", "z", "sh", "zh"),
    "affricate": ("ch", "jh"),
    "nasal": ("m", "n", "ng", "em", "en", "eng"),
    "semivowel": ("l", "r", "w", "y", "el"),
    "vowel": (
        *("iy", "ih", "ix", "eh", "ae", "aa", "ao", "ah", "ax", "ax-h"),
        *("uh", "uw", "ux", "er", "axr", "ey", "ay", "oy", "aw", "ow"),
    ),
}

BROAD_CLASS_OF = {phone: name for name, phones in BROAD_CLASSES.items() for phone in phones}
PHONES = tuple(sorted(BROAD_CLASS_OF))

# What each phone is called among the 39 by which recognisers are compared (Lee & Hon 1989); the
# glottal stop is left out, the others are called as they are.
SILENCE = "sil"
FOLDED: dict[str, str | None] = {
    **dict.fromkeys(("h#", "pau", "epi", "bcl", "dcl", "gcl", "pcl", "tcl", "kcl"), SILENCE),
    **{"ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "el": "l"},
    **{"em": "m", "en": "n", "nx": "n", "eng": "ng", "zh": "sh", "ux": "uw", "q": None},
}


def folded(phones: Iterable[str]) -> list[str]:
    """Phones as those of the 39; silences in a row, such as a closure at a pause, are one."""
    found: list[str] = []
    for phone in phones:
        name = FOLDED.get(phone, phone)
        if name is not None and not (name == SILENCE and found[-1:] == [SILENCE]):
            found.append(name)
    return found
