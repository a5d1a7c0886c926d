"""The 61 phone symbols of TIMIT and their 10 broad classes.

The manner classes are those of Halberstadt and Glass (1997; Halberstadt's thesis, 1998): stops,
weak fricatives, strong fricatives with the affricates, nasals with the flaps, closures and silence,
and one class of vowels and semivowels. Frame by frame that last class is half of the speech and
silence most of the rest, so it is divided by place and movement as phonetics does: liquids and
glides, front vowels, back and central vowels, and diphthongs; and closures, which are parts of
stops, are kept apart from silence, as diphthongs and closures are in the broad groups of Reynolds
and Antoniou (2003). Allophones go where Lee and Hon (1989) fold them: `ix` with `ih` to the front
vowels, `ux` with `uw`, `ax`, `ax-h` with `ah`, `axr` with `er` to the back and central ones, `el`
with `l`, `hv` with `hh`, `nx`, `en` with `n`, `em` with `m`, `eng` with `ng`. The glottal stop `q`,
which they leave out, is a stop here, so that every symbol has a class.
"""

BROAD_CLASSES: dict[str, tuple[str, ...]] = {
    "silence": ("h#", "pau", "epi"),
    "closure": ("bcl", "dcl", "gcl", "pcl", "tcl", "kcl"),
    "stop": ("b", "d", "g", "p", "t", "k", "q"),
    "weak fricative": ("f", "v", "th", "dh", "hh", "hv"),
    "strong fricative": ("s", "z", "sh", "zh", "ch", "jh"),
    "nasal": ("m", "n", "ng", "em", "en", "eng", "nx", "dx"),
    "liquid": ("l", "r", "w", "y", "el"),
    "front vowel": ("iy", "ih", "ix", "eh", "ae"),
    "back vowel": ("aa", "ao", "ah", "ax", "ax-h", "uh", "uw", "ux", "er", "axr"),
    "diphthong": ("ey", "ay", "oy", "aw", "ow"),
}

BROAD_CLASS_OF = {phone: name for name, phones in BROAD_CLASSES.items() for phone in phones}
PHONES = tuple(sorted(BROAD_CLASS_OF))
