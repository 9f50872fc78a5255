"""The anatomic sites of the ISIC Archive by the words that DICOM files have for them."""

from __future__ import annotations

import itertools
import re
from typing import Final

_SITES: Final = {
    "head/neck": "head neck face scalp ear eye eyelid nose lip cheek forehead chin jaw temple temporal brow eyebrow auricle facial",
    "anterior torso": "chest abdomen breast thorax anterior-torso sternum flank",
    "posterior torso": "back posterior-torso scapula buttock lumbar lspine tspine sacrum",
    "lateral torso": "lateral-torso",
    "upper extremity": "arm upperarm forearm shoulder elbow wrist axilla upper-extremity humerus upper-limb hand finger thumb nail",
    "lower extremity": "leg thigh knee calf ankle shin hip lower-extremity foot lower-limb lowerleg heel",
    "palms/soles": "palm palms sole soles",
    "oral/genital": "mouth oral genital genitalia penis vulva scrotum tongue perineum anus",
    "torso": "trunk torso",
    "hand": "hand finger thumb nail",
}
_SITE_OF: Final = {word: site for site, words in _SITES.items() for word in words.split()}
_WORDS: Final = re.compile(r"[a-z]+")


def site_of(text: str) -> str:
    """Return the site that a text of a DICOM file names, in the archive's words; empty where it names none that is known.

    Only these words are ever returned: a text of a hospital's own may name a person.
    """
    words = _WORDS.findall(text.lower())[:12]
    pairs = [f"{one}-{other}" for one, other in itertools.pairwise(words)]
    return next((_SITE_OF[word] for word in (*pairs, *words) if word in _SITE_OF), "")
