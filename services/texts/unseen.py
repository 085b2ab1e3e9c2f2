"""Characters that nobody sees in a text, where no writing needs them."""

import re
import unicodedata

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and a pictograph that are drawn as nothing
_SCRIPTS = "\u0590-\u109f\u1780-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U0001e900-\U0001e95f]")
_MARKS = str.maketrans("\u061c\u200e\u200f", "   ")  # of direction, which say where punctuation stands
_PICTOGRAPHS = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_NEEDED = re.compile(
    "[\t\n\r\u00ad]"  # lines of pasted text, and soft hyphens
    f"|(?<=[{_SCRIPTS}])[\u180e\u200b-\u200d]+|[\u200b-\u200d]+(?=[{_SCRIPTS}])"  # letters join, words have no spaces
    f"|(?<=[{_PICTOGRAPHS}])\u200d(?=[{_PICTOGRAPHS}])"  # several make one
    "|(?<=\U0001f3f4)[\U000e0020-\U000e007f]+"  # the flags of England, Scotland and Wales
    "|[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]"  # signs before numbers, which are seen
)


def first_unseen(text: str) -> str:
    """The name of the first control, format or blank character that the text's writing has no need of; "" for none.

    Persian, Hindi and emoji need joiners, Khmer and Thai spaces without a width, Hebrew and Arabic marks of direction.
    """
    rest = _NEEDED.sub(lambda found: " " * len(found[0]), text)
    if _RIGHT_TO_LEFT.search(text):
        rest = rest.translate(_MARKS)
    unseen = next((one for one in rest if one in _BLANK or unicodedata.category(one) in {"Cc", "Cf"}), "")
    return unseen and f"U+{ord(unseen):04X} {unicodedata.name(unseen, '')}".rstrip()
